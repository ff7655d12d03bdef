//! Who may request a route.

use crate::config::AccessGroup;

/// Who may request a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteAccess {
    /// Everyone, under every host name: the health of the process.
    Everyone,
    /// Under an allowed host name; with any token set, those whose token grants one of these groups.
    AnyOf(&'static [AccessGroup]),
}

/// Which routes a listener answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerScope {
    /// All of them.
    Everything,
    /// All but the reports to operators, for which there is another listener.
    Public,
    /// The reports to operators, and the health of the process.
    Admin,
}

impl ListenerScope {
    /// Whether the listener answers a route with this access.
    pub fn serves(self, access: RouteAccess) -> bool {
        let is_report = |groups: &[AccessGroup]| {
            groups.contains(&AccessGroup::Admin) && groups != AccessGroup::ALL
        };
        match (self, access) {
            (Self::Everything, _) | (_, RouteAccess::Everyone) => true,
            (Self::Public, RouteAccess::AnyOf(groups)) => !is_report(groups),
            (Self::Admin, RouteAccess::AnyOf(groups)) => is_report(groups),
        }
    }
}

/// Groups that grant the snapshot: the panel's page reads it while it has no stream.
pub(crate) const SNAPSHOT_GROUPS: &[AccessGroup] = &[AccessGroup::Data, AccessGroup::Panel];

/// Groups that grant single values.
pub(crate) const DATA_GROUPS: &[AccessGroup] = &[AccessGroup::Data];

/// The access to `/resumen` without `fresh` and `max_age`.
pub(super) const SNAPSHOT_ACCESS: RouteAccess = RouteAccess::AnyOf(SNAPSHOT_GROUPS);

/// The access to single values from the snapshot.
pub(super) const DATA_ACCESS: RouteAccess = RouteAccess::AnyOf(DATA_GROUPS);

impl RouteAccess {
    /// The access to paths that match no route: a client without a token does not learn which ones
    /// do.
    pub(super) const UNMATCHED: Self = Self::AnyOf(AccessGroup::ALL);
}
