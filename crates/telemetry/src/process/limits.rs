//! What the process uses of what it may use at most.

use super::{field, max_fds};
use std::fs;
use std::path::{Path, PathBuf};

/// What the process uses now. `None`: it cannot be told here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub resident: Option<u64>,
    /// Descriptors.
    pub open_files: Option<u64>,
}

/// What it may use at most. `None`: nothing bounds it, or it cannot be told here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The least that a control group of the process, or the machine, has, in bytes.
    pub memory: Option<u64>,
    /// The soft limit of `RLIMIT_NOFILE`.
    pub open_files: Option<u64>,
}

// === impl Usage ===

impl Usage {
    /// Looks. Takes some ten microseconds; on kernels before 6.2, which do not say how many descriptors there are, the
    /// time to list them.
    #[must_use]
    pub fn read() -> Self {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        Self {
            resident: resident_pages(&statm).map(|pages| pages * rustix::param::page_size() as u64),
            open_files: open_files(),
        }
    }
}

/// The second field (proc_pid_statm(5)).
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    // Since Linux 6.2 the size of the folder is their number.
    let told = fs::metadata(folder).ok()?.len();
    match told {
        0 => fs::read_dir(folder).ok().map(|entries| entries.count() as u64),
        told => Some(told),
    }
}

// === impl Limits ===

impl Limits {
    /// Looks.
    #[must_use]
    pub fn read() -> Self {
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let machine = field(&machine, "MemTotal:").and_then(|text| text.parse::<u64>().ok());
        Self {
            memory: of_groups(&groups, Path::new("/sys/fs/cgroup"))
                .into_iter()
                .chain(machine.map(|kibibytes| kibibytes * 1024))
                .min(),
            open_files: max_fds(&limits)
                .filter(|limit| limit.is_finite())
                .map(|limit| limit as u64),
        }
    }
}

/// The limits of the process's control groups and of those around them (cgroups(7)). `groups` is `/proc/self/cgroup`.
fn of_groups(groups: &str, root: &Path) -> Option<u64> {
    let of_line = |line: &str| -> Option<(PathBuf, String, &'static str)> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/').to_owned();
        match controllers {
            "" => Some((root.to_owned(), path, "memory.max")),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Some((root.join("memory"), path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    };
    let limit = |folder: &Path, file: &str| -> Option<u64> {
        // `max` in version 2; in version 1 a number that no machine has.
        let text = fs::read_to_string(folder.join(file)).ok()?;
        text.trim().parse().ok()
    };
    let lines = groups.lines().filter_map(of_line);
    lines
        .flat_map(|(top, path, file)| {
            let inmost = top.join(path);
            let around: Vec<PathBuf> = inmost
                .ancestors()
                .take_while(|at| at.starts_with(&top))
                .map(Into::into)
                .collect();
            around.into_iter().filter_map(move |at| limit(&at, file)).min()
        })
        .min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_can_be_told_here() {
        let (usage, limits) = (Usage::read(), Limits::read());
        assert!(usage.resident.unwrap() > 100_000, "{usage:?}");
        assert!(usage.open_files.unwrap() > 2, "{usage:?}");
        assert!(limits.memory.unwrap() > usage.resident.unwrap(), "{limits:?}");
        assert!(
            limits.open_files.is_none_or(|limit| limit > usage.open_files.unwrap()),
            "{limits:?}"
        );
    }

    #[test]
    fn a_descriptor_more_is_one_more() {
        let before = open_files().unwrap();
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close too.
        assert!(open_files().unwrap() >= before + 50);
        drop(files);
    }

    #[test]
    fn the_least_of_the_groups_around_is_the_limit() {
        let root = std::env::temp_dir().join(format!("sluice-cgroup-{}", std::process::id()));
        let inmost = root.join("a/b");
        fs::create_dir_all(&inmost).unwrap();
        fs::write(inmost.join("memory.max"), "max\n").unwrap();
        fs::write(root.join("a/memory.max"), "2000\n").unwrap();
        fs::write(root.join("memory.max"), "3000\n").unwrap();
        assert_eq!(of_groups("0::/a/b\n", &root), Some(2000));
        assert_eq!(of_groups("0::/\n", &root), Some(3000));
        assert_eq!(of_groups("0::/gone\n", &root), Some(3000));
        let old = root.join("memory/x");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("memory.limit_in_bytes"), "1000\n").unwrap();
        assert_eq!(of_groups("3:cpu,cpuacct:/x\n2:memory:/x\n", &root), Some(1000));
        assert_eq!(of_groups("", &root), None);
        fs::remove_dir_all(&root).unwrap();
    }
}
