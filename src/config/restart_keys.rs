//! What a running service cannot take over from a new configuration.

use crate::config::Config;

impl Config {
    /// The keys whose values differ in `new` and that only a restart can change; empty if a reload will do.
    pub fn keys_needing_restart(&self, new: &Self) -> Vec<&'static str> {
        let (server, other) = (&self.server, &new.server);
        let (store, others) = (&self.store, &new.store);
        let keys = [
            ("server.listen", server.listen != other.listen),
            (
                "server.default_timeout",
                server.default_timeout != other.default_timeout,
            ),
            (
                "server.max_timeout",
                server.max_timeout != other.max_timeout,
            ),
            (
                "server.max_connections",
                server.max_connections != other.max_connections,
            ),
            (
                "server.header_timeout",
                server.header_timeout != other.header_timeout,
            ),
            (
                "server.idle_timeout",
                server.idle_timeout != other.idle_timeout,
            ),
            (
                "server.shutdown_grace",
                server.shutdown_grace != other.shutdown_grace,
            ),
            (
                "server.cors_origins",
                server.cors_origins != other.cors_origins,
            ),
            ("store.path", store.path != others.path),
            ("store.redis", store.redis != others.redis),
            (
                "store.redis_prefix",
                store.redis_prefix != others.redis_prefix,
            ),
        ];
        keys.into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(key, _)| key)
            .collect()
    }
}
