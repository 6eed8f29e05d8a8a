//! How many threads compute: those of the pool, each running the model on its own, times those inside a run.
//!
//! More of them than cores only take the cores from each other: every run gets slower, and none more is finished.

use std::num::NonZero;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::measure::Tried;

/// A choice of more threads in a run must be this much faster to be worth the runs beside each other that it costs.
const WORTHWHILE: f64 = 1.1;

/// Threads of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// Runs at the same time.
    pub pool: usize,
    /// Threads inside each run.
    pub intra_op: usize,
}

/// Cores that this process may use: those of its affinity and its control group.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Keeps the calling thread on one of the cores that this process may use: the `index`-th, begun anew where there are fewer. Says which.
///
/// # Errors
/// When the system refuses it.
pub fn pin(index: usize) -> std::io::Result<usize> {
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    // A thread that runs is allowed on some core.
    let core = cores.get(index % cores.len().max(1)).copied().unwrap_or_default();
    let mut own = CpuSet::new();
    own.set(core);
    sched_setaffinity(None, &own)?;
    Ok(core)
}

/// Lets the calling thread begin when its turn comes, instead of taking the core from whoever woke it.
///
/// A thread of the pool is woken by the request that is read. Where all cores are busy, the system would stop the one that reads to run a
/// batch of that one request, again and again: ten times as many switches, and an eighth to a quarter less throughput on two cores. As
/// `SCHED_BATCH` ([sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html)) it gets its share of time all the same, and a core that
/// is idle at once.
///
/// # Errors
/// When the system refuses it; the thread computes all the same.
#[expect(unsafe_code, reason = "no safe crate of ours has this call, which reads one number and keeps nothing")]
pub fn takes_its_turn() -> std::io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread; the parameters are read during the call only.
    let refused = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    if refused == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// What fits on so many cores, and why it is less than was asked for. The pool is kept as long as it fits: runs beside each
/// other lose nothing to each other, threads inside a run wait for the slowest.
#[must_use]
pub fn fitting(asked: Threads, cores: usize) -> (Threads, Option<String>) {
    let cores = cores.max(1);
    let pool = asked.pool.clamp(1, cores);
    let intra_op = asked.intra_op.clamp(1, cores / pool);
    let fitting = Threads { pool, intra_op };
    let reason = (fitting != asked).then(|| {
        format!(
            "{} runs at once with {} threads each do not fit on {cores} cores; {pool} with {intra_op} do",
            asked.pool, asked.intra_op
        )
    });
    (fitting, reason)
}

/// The numbers of threads inside a run that are worth measuring: one, and as many as fit beside the pool.
#[must_use]
pub fn candidates(pool: usize, cores: usize) -> Vec<usize> {
    let (all, _) = fitting(Threads { pool, intra_op: cores }, cores);
    if all.intra_op > 1 { vec![1, all.intra_op] } else { vec![1] }
}

/// The best of what was tried: more threads only where they are clearly faster.
#[must_use]
pub fn best(tried: &[Tried]) -> usize {
    let mut best = Tried { intra_op_threads: 1, rows_per_second: 0.0 };
    for candidate in tried {
        let needed = if best.rows_per_second > 0.0 { best.rows_per_second * WORTHWHILE } else { 0.0 };
        if candidate.rows_per_second > needed {
            best = *candidate;
        }
    }
    best.intra_op_threads
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tried(intra_op_threads: usize, rows_per_second: f64) -> Tried {
        Tried { intra_op_threads, rows_per_second }
    }

    #[test]
    fn the_pool_is_kept_and_threads_inside_a_run_are_lowered_first() {
        let asked = Threads { pool: 2, intra_op: 4 };
        assert_eq!(fitting(asked, 8), (asked, None));
        let (fits, reason) = fitting(asked, 4);
        assert_eq!(fits, Threads { pool: 2, intra_op: 2 });
        assert_eq!(reason.unwrap(), "2 runs at once with 4 threads each do not fit on 4 cores; 2 with 2 do");
        assert_eq!(fitting(Threads { pool: 9, intra_op: 2 }, 4).0, Threads { pool: 4, intra_op: 1 });
    }

    #[test]
    fn more_threads_in_a_run_are_taken_only_when_clearly_faster() {
        assert_eq!(best(&[tried(1, 100.0), tried(4, 105.0)]), 1);
        assert_eq!(best(&[tried(1, 100.0), tried(4, 190.0)]), 4);
        assert_eq!(best(&[]), 1);
        assert_eq!(candidates(1, 4), [1, 4]);
        assert_eq!(candidates(2, 4), [1, 2]);
        assert_eq!(candidates(4, 4), [1]);
    }

    #[test]
    fn a_thread_that_is_pinned_stays_on_its_core() {
        let pinned = |index: usize| {
            std::thread::spawn(move || {
                let core = pin(index).unwrap();
                (core, cores(), sched_getaffinity(None).unwrap().is_set(core))
            })
            .join()
            .unwrap()
        };
        let all = cores();
        let (first, allowed, set) = pinned(0);
        assert!(allowed == 1 && set);
        assert_eq!(pinned(1).0 == first, all == 1);
        assert_eq!(cores(), all, "other threads may go where they like");
    }

    #[test]
    fn a_thread_that_takes_its_turn_is_one_of_a_batch() {
        // Field 41 of `stat` is the policy: 3 is SCHED_BATCH. Fields are counted from behind the name, which may hold anything.
        fn policy() -> Option<String> {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            stat.rsplit_once(')')?.1.split_whitespace().nth(38).map(str::to_owned)
        }
        let own = std::thread::spawn(|| {
            takes_its_turn().unwrap();
            policy()
        });
        assert_eq!(own.join().unwrap().as_deref(), Some("3"));
        assert_eq!(policy().as_deref(), Some("0"), "others stay as they were");
    }

    proptest! {
        #[test]
        fn there_are_never_more_threads_than_cores(pool in 0_usize..300, intra_op in 0_usize..300, cores in 0_usize..80) {
            let (fits, reason) = fitting(Threads { pool, intra_op }, cores);
            prop_assert!(fits.pool >= 1 && fits.intra_op >= 1);
            prop_assert!(fits.pool * fits.intra_op <= cores.max(1));
            prop_assert_eq!(reason.is_none(), fits == Threads { pool, intra_op });
        }
    }
}
