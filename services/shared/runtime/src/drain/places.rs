//! Places for connections. When all are taken, a newcomer gets the place of the one that has had nothing to do for longest: whoever opens
//! thousands of connections and says nothing on them keeps nobody out but himself.
//!
//! A connection with a request in work never gives way. What a client sends does not count as something to do until it is a request:
//! a head that comes byte by byte is as idle as one that does not come.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// All places of one server.
#[derive(Clone, Debug)]
pub struct Places {
    permits: Arc<Semaphore>,
    taken: Arc<Taken>,
}

#[derive(Debug)]
struct Taken {
    begun: Instant,
    next: AtomicU64,
    /// By number, so in the order in which they came.
    by: Mutex<BTreeMap<u64, Occupant>>,
    /// Somebody waits for a place, and wants to know when a connection has nothing more to do.
    is_waited_for: AtomicBool,
    idle: Notify,
}

#[derive(Debug)]
struct Occupant {
    came: u64,
    doing: Arc<Doing>,
    permit: OwnedSemaphorePermit,
}

/// What a connection has to do.
#[derive(Debug)]
struct Doing {
    /// Requests in work.
    requests: AtomicUsize,
    /// When it last did something, in microseconds after the start.
    last: AtomicU64,
    give_way: CancellationToken,
}

/// A place that is taken. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    activity: Activity,
}

/// What tells the places what a connection does.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    taken: Arc<Taken>,
    doing: Arc<Doing>,
}

/// A request in work.
#[derive(Debug)]
pub(super) struct Busy(Activity);

impl Places {
    /// So many, or as many as the files that this process may have open allow.
    #[must_use]
    pub fn within_files(connections: usize) -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = files.map_or(usize::MAX, |files| usize::try_from(files / 4 * 3).unwrap_or(usize::MAX));
        if most < connections {
            warn!(connections, most, "fewer connections than configured: the limit of open files allows no more");
        }
        Self::new(connections.min(most))
    }

    fn new(count: usize) -> Self {
        let taken = Taken {
            begun: Instant::now(),
            next: AtomicU64::new(0),
            by: Mutex::default(),
            is_waited_for: AtomicBool::new(false),
            idle: Notify::new(),
        };
        Self { permits: Arc::new(Semaphore::new(count)), taken: Arc::new(taken) }
    }

    /// A place; waits for one if every connection is busy.
    pub(super) async fn take(&self) -> Place {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match self.taken.free_one() {
                Some(permit) => permit,
                None => self.wait().await,
            },
        };
        let came = self.taken.now();
        let last = AtomicU64::new(came);
        let doing = Arc::new(Doing { requests: AtomicUsize::new(0), last, give_way: CancellationToken::new() });
        let activity = Activity { taken: Arc::clone(&self.taken), doing: Arc::clone(&doing) };
        let number = self.taken.next.fetch_add(1, Ordering::Relaxed);
        self.taken.occupants().insert(number, Occupant { came, doing, permit });
        Place { number, activity }
    }

    async fn wait(&self) -> OwnedSemaphorePermit {
        self.taken.is_waited_for.store(true, Ordering::Release);
        let mut permit = pin!(Arc::clone(&self.permits).acquire_owned());
        let permit = loop {
            // One may have ended its work before it could know that somebody waits.
            if let Some(permit) = self.taken.free_one() {
                break permit;
            }
            tokio::select! {
                // Nobody closes the semaphore.
                Ok(permit) = &mut permit => break permit,
                () = self.taken.idle.notified() => {}
            }
        };
        self.taken.is_waited_for.store(false, Ordering::Release);
        permit
    }
}

impl Taken {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn occupants(&self) -> MutexGuard<'_, BTreeMap<u64, Occupant>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of the connection that has been idle for longest, if there is one. Its end is a matter of a moment, and not waited for.
    fn free_one(&self) -> Option<OwnedSemaphorePermit> {
        let mut by = self.occupants();
        let mut longest: Option<(u64, u64)> = None;
        for (number, occupant) in by.iter() {
            if longest.is_some_and(|(since, _)| occupant.came > since) {
                // Who came later has not been idle for longer. Where nobody says anything, the first look is the last.
                break;
            }
            let since = occupant.doing.last.load(Ordering::Relaxed);
            let is_idle = occupant.doing.requests.load(Ordering::Acquire) == 0;
            if is_idle && longest.is_none_or(|(longest, _)| since < longest) {
                longest = Some((since, *number));
            }
        }
        let Occupant { doing, permit, .. } = by.remove(&longest?.1)?;
        doing.give_way.cancel();
        Some(permit)
    }
}

impl Place {
    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// Resolves when somebody else needs the place.
    pub(super) async fn wanted(&self) {
        self.activity.doing.give_way.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.activity.taken.occupants().remove(&self.number);
    }
}

impl Activity {
    /// Something was done: a piece of an answer went out.
    pub(super) fn did(&self) {
        self.doing.last.store(self.taken.now(), Ordering::Relaxed);
    }

    /// How many requests are in work.
    pub(super) fn requests(&self) -> usize {
        self.doing.requests.load(Ordering::Relaxed)
    }

    /// A request is in work until this is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.doing.requests.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.did();
        let Activity { taken, doing } = &self.0;
        if doing.requests.fetch_sub(1, Ordering::AcqRel) == 1 && taken.is_waited_for.load(Ordering::Acquire) {
            taken.idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn the_longest_idle_gives_way_and_a_busy_one_never_does() {
        let places = Places::new(3);
        let (busy, idle, newer) = (places.take().await, places.take().await, places.take().await);
        let work = busy.activity().busy();
        newer.activity().did();
        let next = places.take().now_or_never().expect("a place is made");
        assert!(idle.wanted().now_or_never().is_some(), "the one that did nothing for longest is asked");
        assert!(newer.wanted().now_or_never().is_none() && busy.wanted().now_or_never().is_none());
        drop(idle);

        let others = [newer.activity().busy(), next.activity().busy()];
        let mut waiting = std::pin::pin!(places.take());
        assert!(waiting.as_mut().now_or_never().is_none());
        for place in [&busy, &newer, &next] {
            assert!(place.wanted().now_or_never().is_none(), "everybody is busy, and the newcomer waits");
        }
        // The first that has nothing more to do is asked at once.
        drop(others);
        let _place = waiting.await;
        assert!(newer.wanted().now_or_never().is_some());
        drop(work);
    }
}
