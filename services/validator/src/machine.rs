//! Processor time of this machine and of the mesh's processes on it, from `/proc`.

use crate::domain::contention::Reading;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// One process.
struct Process {
    parent: u32,
    name: String,
    ticks: u64,
}

/// Reads it; `None` where there is no `/proc`. `workers` are the processes of the revision that is measured; `None` too where they are not
/// processes of this machine, as the pods of a cluster are not: what happens here then says nothing of them.
pub(crate) fn read(workers: &BTreeSet<u32>) -> Option<Reading> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let (total, idle) = machine_ticks(&stat)?;
    let processes = processes();
    let is_here = |pid: &u32| processes.get(pid).is_some_and(|process| is_worker(*pid, process));
    if workers.is_empty() || !workers.iter().all(is_here) {
        return None;
    }
    let own = std::process::id();
    let ours = processes
        .iter()
        .filter(|(pid, process)| is_ours(**pid, process, own, workers, &processes))
        .map(|(pid, process)| (*pid, process.ticks))
        .collect();
    Some(Reading { total, idle, ours })
}

/// Ours are this process and what it started, the services of the mesh, its broker, and the workers that are measured. The
/// workers of other revisions are not: their traffic is what the measured one may be disturbed by, and disturb.
fn is_ours(pid: u32, process: &Process, own: u32, workers: &BTreeSet<u32>, all: &BTreeMap<u32, Process>) -> bool {
    if pid == own || workers.contains(&pid) {
        return true;
    }
    if process.name == "nats-server" {
        return true;
    }
    let is_mesh = process.name.starts_with("slipway-") || (process.name == "slipway" && runs(pid, "up"));
    !is_worker(pid, process) && (is_mesh || descends(process, own, all))
}

fn is_worker(pid: u32, process: &Process) -> bool {
    process.name.starts_with("slipway-inferen") || runs(pid, "inference-worker")
}

/// Whether the first argument of the process is this word.
fn runs(pid: u32, word: &str) -> bool {
    let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    arguments.split(|byte| *byte == 0).nth(1) == Some(word.as_bytes())
}

fn descends(process: &Process, own: u32, all: &BTreeMap<u32, Process>) -> bool {
    let mut parent = process.parent;
    // A process tree is never this deep; a loop cannot be, but a bound costs nothing.
    for _ in 0..64 {
        if parent == own {
            return true;
        }
        match all.get(&parent) {
            Some(next) if parent > 1 => parent = next.parent,
            _ => return false,
        }
    }
    false
}

fn processes() -> BTreeMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    let pids = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, process(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// Fields 2, 4, 14 and 15 of `/proc/<pid>/stat`. The name may hold anything, so counting starts after its last parenthesis.
fn process(stat: &str) -> Option<Process> {
    let (head, fields) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    Some(Process { name: name.to_owned(), parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? })
}

/// Total and idle (with the wait for disks) of the first line of `/proc/stat`. Guest time is part of user time already.
fn machine_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
    let idle = fields.get(3)? + fields.get(4)?;
    Some((fields.iter().sum(), idle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_proc_are_read() {
        assert_eq!(machine_ticks("cpu  10 20 30 400 50 6 7 8 9 9\ncpu0 1"), Some((531, 450)));
        let process = process("42 (a) b (c)) S 7 1 1 0 -1 4194304 1 2 3 4 100 20 0 0 20 0 1").unwrap();
        assert_eq!((process.name.as_str(), process.parent, process.ticks), ("a) b (c)", 7, 120));
    }

    #[test]
    fn this_process_and_what_it_starts_are_ours_and_init_is_not() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        // A worker by its first argument.
        let mut worker = std::process::Command::new("tail");
        let worker = worker.args(["inference-worker", "-f", "/dev/null"]).stderr(std::process::Stdio::null());
        let mut worker = worker.spawn().unwrap();
        let reading = read(&[worker.id()].into()).unwrap();
        for pid in [None, Some(1), Some(child.id())] {
            assert!(read(&pid.into_iter().collect()).is_none(), "{pid:?} is no worker of this machine");
        }
        for child in [&mut child, &mut worker] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(reading.ours.contains_key(&worker.id()));
        assert!(reading.ours.contains_key(&std::process::id()) && reading.ours.contains_key(&child.id()));
        assert!(!reading.ours.contains_key(&1));
        assert!(reading.total > 0 && reading.idle <= reading.total);
    }
}
