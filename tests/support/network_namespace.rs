//! Linux network namespaces. They need root and `ip netns`.

use std::process::Command;

use super::child_process::{command_through, ignored_test_command, run_ignored_test};
use super::requirements::require;

/// A network namespace, deleted when dropped.
pub struct NetworkNamespace {
    pub name: String,
}

impl NetworkNamespace {
    /// Creates a namespace with a loopback device that is up. `None` if that is not permitted.
    pub fn create(purpose: &str) -> Option<Self> {
        let name = format!("resumen-{purpose}-{}", std::process::id());
        let is_created = run_ip(&["netns", "add", &name]);
        require("a network namespace (root and `ip netns`)", is_created).then(|| {
            let namespace = Self { name };
            namespace.run_ip_inside(&["link", "set", "lo", "up"]);
            namespace
        })
    }

    pub fn run_ip_inside(&self, arguments: &[&str]) {
        assert!(
            run_ip(&[&["-n", &self.name], arguments].concat()),
            "ip {arguments:?}"
        );
    }

    /// Runs an ignored test of this binary inside the namespace.
    pub fn run_test_inside(&self, test: &str, variables: &[(&str, &str)]) {
        let starter = ["ip", "netns", "exec", &self.name];
        let mut command = command_through(&starter, &ignored_test_command(test));
        run_ignored_test(command.envs(variables.iter().copied()));
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        run_ip(&["netns", "delete", &self.name]);
    }
}

/// Runs `ip` in the current namespace; returns whether it succeeded.
pub fn run_ip(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
