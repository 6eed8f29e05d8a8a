//! Memory limits by control group (v2), where this process may make groups. Where it may not, resident memory is read
//! from time to time instead; see `keeper`.

use super::process::Identity;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The groups below which this process may make its own.
#[derive(Clone, Debug)]
pub(super) struct ControlGroups {
    parent: PathBuf,
}

/// A group of one worker.
#[derive(Clone, Debug)]
pub(super) struct Group {
    folder: PathBuf,
}

impl ControlGroups {
    /// The groups of this process, if the memory controller was handed to it and it may make groups there.
    #[must_use]
    pub(super) fn detect() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        Self::below(&Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')))
    }

    /// The same below a given folder.
    fn below(own: &Path) -> Option<Self> {
        let handed = fs::read_to_string(own.join("cgroup.subtree_control")).ok()?;
        if !handed.split_ascii_whitespace().any(|controller| controller == "memory") {
            return None;
        }
        let parent = own.join("slipway-workers");
        fs::create_dir_all(&parent).ok()?;
        fs::write(parent.join("cgroup.subtree_control"), "+memory").ok()?;
        Some(Self { parent })
    }

    /// Puts a process into a group of its own with at most so much memory.
    ///
    /// # Errors
    /// When the kernel refuses; the process then runs without.
    pub(super) fn confine(&self, name: &str, process: &Identity, memory_bytes: u64) -> io::Result<Group> {
        let folder = self.parent.join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("memory.max"), memory_bytes.to_string())?;
        // Swapping out a model only turns a clear end into an endless one.
        if folder.join("memory.swap.max").exists() {
            fs::write(folder.join("memory.swap.max"), "0")?;
        }
        fs::write(folder.join("cgroup.procs"), process.pid.to_string())?;
        Ok(Group { folder })
    }
}

impl Group {
    /// Whether the kernel killed somebody in it for want of memory.
    #[must_use]
    pub(super) fn was_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|count| count.trim().parse::<u64>().ok()).is_some_and(|count| count > 0)
    }

    /// Removes it. One with a process in it stays until the next try.
    pub(super) fn remove(&self) {
        // An error leaves an empty folder in a virtual file system; it is gone with the next start of the machine.
        let _ = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_confined_where_the_memory_controller_was_handed_down() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ControlGroups::below(folder.path()).is_none(), "no control groups here");
        fs::write(folder.path().join("cgroup.subtree_control"), "cpu").unwrap();
        assert!(ControlGroups::below(folder.path()).is_none(), "memory was not handed down");
        fs::write(folder.path().join("cgroup.subtree_control"), "cpu memory").unwrap();
        let groups = ControlGroups::below(folder.path()).unwrap();
        let own = Identity::of(std::process::id()).unwrap();
        let group = groups.confine("digits-1-1-0-00000000", &own, 1 << 20).unwrap();
        let read = |name: &str| fs::read_to_string(group.folder.join(name)).unwrap();
        assert_eq!((read("memory.max"), read("cgroup.procs")), ("1048576".to_owned(), own.pid.to_string()));
        assert!(!group.was_out_of_memory());
        fs::write(group.folder.join("memory.events"), "low 0\noom 3\noom_kill 1\n").unwrap();
        assert!(group.was_out_of_memory());
    }
}
