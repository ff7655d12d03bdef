//! The memory limit of the container that the process runs in (cgroup v1 and v2).

use std::fs;
use std::path::{Path, PathBuf};

/// Values from here on mean "no limit" in cgroup v1, which reports the largest page-aligned integer.
const UNLIMITED_FROM: u64 = 1 << 60;

/// Returns the smallest memory limit, in bytes, of the process's own cgroup and its ancestors; `None` without a limit
/// or without cgroups.
pub fn container_memory_limit() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    smallest_limit(&membership, Path::new("/sys/fs/cgroup"))
}

/// Reads the limits below `root`, the mount point of the cgroup file systems. `membership` is the content of
/// `/proc/self/cgroup`.
fn smallest_limit(membership: &str, root: &Path) -> Option<u64> {
    membership
        .lines()
        .filter_map(|line| limit_files(line, root))
        .flatten()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
        .filter(|limit| *limit < UNLIMITED_FROM)
        .min()
}

/// Returns the limit files of one line of `/proc/self/cgroup`: of the named group and of all its ancestors. Inside of a
/// container the path of a v1 line is often the path on the host; the mount point itself is then the own group.
fn limit_files(line: &str, root: &Path) -> Option<Vec<PathBuf>> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (mount, file) = if controllers.is_empty() {
        (root.to_path_buf(), "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        (root.join("memory"), "memory.limit_in_bytes")
    } else {
        return None;
    };
    let group = Path::new(path.trim_start_matches('/'));
    Some(
        group
            .ancestors()
            .map(|group| mount.join(group).join(file))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_of(membership: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        smallest_limit(membership, root.path())
    }

    #[test]
    fn v2_limit_of_an_ancestor_counts() {
        let files = [
            ("memory.max", "max\n"),
            ("a/memory.max", "134217728\n"),
            ("a/b/memory.max", "max\n"),
        ];
        assert_eq!(limit_of("0::/a/b\n", &files), Some(128 << 20));
        assert_eq!(limit_of("0::/\n", &files), None);
        assert_eq!(limit_of("0::/\n", &[("memory.max", "1000")]), Some(1000));
    }

    #[test]
    fn v1_limit_is_read_from_the_mount_point() {
        let unlimited = ("memory/memory.limit_in_bytes", "9223372036854771712");
        assert_eq!(limit_of("5:cpu,memory:/x\n", &[unlimited]), None);
        let limited = ("memory/memory.limit_in_bytes", "67108864\n");
        let membership = "7:memory:/docker/0123\n0::/docker/0123\n";
        assert_eq!(limit_of(membership, &[limited]), Some(64 << 20));
        let own = ("memory/docker/0123/memory.limit_in_bytes", "1048576");
        assert_eq!(limit_of(membership, &[limited, own]), Some(1 << 20));
    }

    #[test]
    fn other_controllers_are_ignored() {
        assert_eq!(
            limit_of("3:cpuset:/\nnonsense\n", &[("memory.max", "5")]),
            None
        );
    }
}
