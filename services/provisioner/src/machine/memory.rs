//! How much memory this process may use: what the machine has, or less if a control group says so.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the kernel shows what it knows; a test shows something else.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), cgroup: "/sys/fs/cgroup".into() }
    }
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What there is.
    pub total_bytes: u64,
    /// What can be had without pushing others out.
    pub available_bytes: u64,
}

/// Looks. What cannot be read counts as nothing, so that nothing is promised on it.
#[must_use]
pub fn probe(roots: &Roots) -> Memory {
    let mut memory = fs::read_to_string(roots.proc.join("meminfo")).map(|text| machine(&text)).unwrap_or_default();
    for group in groups(roots) {
        if let Some(limit) = group.limit() {
            memory.total_bytes = memory.total_bytes.min(limit);
            memory.available_bytes = memory.available_bytes.min(limit.saturating_sub(group.in_use()));
        }
    }
    memory
}

/// Reads `/proc/meminfo`.
fn machine(text: &str) -> Memory {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1_024)
    };
    Memory {
        total_bytes: field("MemTotal").unwrap_or(0),
        available_bytes: field("MemAvailable").or_else(|| field("MemFree")).unwrap_or(0),
    }
}

/// A control group that bounds the memory of this process.
struct Group {
    folder: PathBuf,
    files: Files,
}

/// How the two versions of control groups name what they know.
#[derive(Clone, Copy)]
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// Of `memory.stat`: file pages that are given back when memory runs short.
    inactive: &'static str,
}

const VERSION_2: Files = Files { limit: "memory.max", usage: "memory.current", inactive: "inactive_file" };
const VERSION_1: Files =
    Files { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", inactive: "total_inactive_file" };

impl Group {
    /// The limit; none if it is `max`.
    fn limit(&self) -> Option<u64> {
        self.number(self.files.limit)
    }

    fn in_use(&self) -> u64 {
        let usage = self.number(self.files.usage).unwrap_or(0);
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let inactive =
            stat.lines().find_map(|line| line.strip_prefix(self.files.inactive)?.trim().parse().ok()).unwrap_or(0);
        usage.saturating_sub(inactive)
    }

    fn number(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok()
    }
}

/// The group of this process and every one above it: each bounds it.
fn groups(roots: &Roots) -> Vec<Group> {
    let membership = fs::read_to_string(roots.proc.join("self/cgroup")).unwrap_or_default();
    membership
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            match controllers {
                "" => Some((roots.cgroup.clone(), path, VERSION_2)),
                list if list.split(',').any(|c| c == "memory") => Some((roots.cgroup.join("memory"), path, VERSION_1)),
                _ => None,
            }
        })
        .flat_map(|(root, path, files)| ancestors(&root, path).into_iter().map(move |folder| Group { folder, files }))
        .collect()
}

/// In a container the path of the group is often not visible; then only the root is, and holds the container's limit.
fn ancestors(root: &Path, path: &str) -> Vec<PathBuf> {
    let relative = Path::new(path.trim_start_matches('/'));
    relative.ancestors().map(|part| root.join(part)).filter(|folder| folder.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       8000000 kB\nMemFree:         100000 kB\nMemAvailable:   4000000 kB\n";

    struct Machine {
        folder: tempfile::TempDir,
    }

    impl Machine {
        fn new(files: &[(&str, &str)]) -> Self {
            let machine = Self { folder: tempfile::tempdir().unwrap() };
            for (file, content) in files {
                let path = machine.folder.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            machine
        }

        fn memory(&self) -> Memory {
            let root = self.folder.path();
            probe(&Roots { proc: root.join("proc"), cgroup: root.join("cgroup") })
        }
    }

    #[test]
    fn without_a_limit_it_is_what_the_machine_has() {
        let machine = Machine::new(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/user.slice\n"),
            ("cgroup/user.slice/memory.max", "max\n"),
        ]);
        assert_eq!(machine.memory(), Memory { total_bytes: 8_000_000 * 1_024, available_bytes: 4_000_000 * 1_024 });
    }

    #[test]
    fn the_tightest_group_of_all_above_bounds_it_and_cached_files_do_not_count_as_used() {
        let machine = Machine::new(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("cgroup/outer/memory.max", "1000000\n"),
            ("cgroup/outer/memory.current", "700000\n"),
            ("cgroup/outer/memory.stat", "anon 300000\ninactive_file 400000\n"),
            ("cgroup/outer/inner/memory.max", "2000000\n"),
            ("cgroup/outer/inner/memory.current", "500000\n"),
        ]);
        assert_eq!(machine.memory(), Memory { total_bytes: 1_000_000, available_bytes: 700_000 });
    }

    #[test]
    fn the_older_control_groups_are_read_too() {
        let machine = Machine::new(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n"),
            ("cgroup/memory/memory.limit_in_bytes", "3000000\n"),
            ("cgroup/memory/memory.usage_in_bytes", "1000000\n"),
            ("cgroup/memory/memory.stat", "total_inactive_file 500000\n"),
        ]);
        assert_eq!(machine.memory(), Memory { total_bytes: 3_000_000, available_bytes: 2_500_000 });
    }

    #[test]
    fn what_cannot_be_read_counts_as_nothing() {
        assert_eq!(Machine::new(&[]).memory(), Memory::default());
        assert_eq!(machine("MemTotal: many kB\n"), Memory::default());
    }
}
