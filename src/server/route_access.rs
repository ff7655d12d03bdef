//! Who may request a route.

/// Who may request a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteAccess {
    /// Everyone, under every host name: the health of the process.
    Everyone,
    /// Those that `[server]` admits.
    Admitted,
}

impl RouteAccess {
    /// The access to paths that match no route.
    pub(super) const UNMATCHED: Self = Self::Admitted;
}
