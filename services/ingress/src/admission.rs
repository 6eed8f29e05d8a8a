//! Who is let through: permits for requests under way, memory for bodies, the rate of one caller. Every wait is bounded, and
//! every refusal names its bound.

use crate::{cache::CacheMemory, config::LimitsConfig, error::RequestError, limits};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use slipway_kernel::Rate;
use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// A bound on requests at once, with a bounded queue before it.
#[derive(Debug)]
pub struct Permits {
    bound: &'static str,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    may_wait: usize,
    wait: Duration,
}

impl Permits {
    /// `size` at once, as many again waiting for at most `wait`; `bound` is the key of the configuration to name in refusals.
    #[must_use]
    pub fn new(bound: &'static str, size: usize, wait: Duration) -> Self {
        let may_wait = size.saturating_mul(limits::WAITING_PER_PERMIT);
        Self { bound, free: Arc::new(Semaphore::new(size)), waiting: AtomicUsize::new(0), may_wait, wait }
    }

    /// A permit, which is given back when it is dropped.
    ///
    /// # Errors
    /// [`RequestError::Overloaded`] if the queue is full or was waited in for too long, [`RequestError::DeadlineExceeded`] if
    /// the deadline came first.
    pub async fn acquire(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, RequestError> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(permit);
        }
        let overloaded = || RequestError::Overloaded { bound: self.bound };
        let _place = Place::take(&self.waiting, self.may_wait).ok_or_else(overloaded)?;
        let patience = Instant::now() + self.wait;
        match timeout_at(patience.min(deadline), Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Err(_) if deadline < patience => Err(RequestError::DeadlineExceeded),
            Ok(Err(_)) | Err(_) => Err(overloaded()),
        }
    }

    /// How many are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }
}

/// A place in a bounded queue.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let place = Self(waiting);
        // A place over the bound is given back at once, by its drop.
        if place.0.fetch_add(1, Ordering::Relaxed) < most { Some(place) } else { None }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Memory for bodies. Nobody waits for it: whoever holds a part of a body while it waits for more would block the others.
#[derive(Clone, Debug)]
pub struct BodyMemory {
    free: Arc<Semaphore>,
}

impl BodyMemory {
    /// So many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let blocks = usize::try_from(bytes).unwrap_or(usize::MAX) / limits::BODY_BLOCK_BYTES;
        Self { free: Arc::new(Semaphore::new(blocks.min(Semaphore::MAX_PERMITS))) }
    }

    /// An empty share, to be grown as the body is read.
    #[must_use]
    pub fn share(&self) -> BodyShare {
        BodyShare { memory: self.clone(), blocks: 0 }
    }
}

/// The memory of one body, given back when it is dropped.
#[derive(Debug)]
pub struct BodyShare {
    memory: BodyMemory,
    blocks: usize,
}

impl BodyShare {
    /// Makes sure that the share covers `bytes`.
    ///
    /// # Errors
    /// [`RequestError::Overloaded`] if there is not so much left.
    pub fn cover(&mut self, bytes: usize) -> Result<(), RequestError> {
        let more = bytes.div_ceil(limits::BODY_BLOCK_BYTES).saturating_sub(self.blocks);
        let overloaded = RequestError::Overloaded { bound: "limits.body_memory" };
        let Ok(count) = u32::try_from(more) else { return Err(overloaded) };
        match self.memory.free.try_acquire_many(count) {
            Ok(permits) => {
                permits.forget();
                self.blocks += more;
                Ok(())
            }
            Err(_) => Err(overloaded),
        }
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.memory.free.add_permits(self.blocks);
    }
}

/// The rate limit of a deployment, per caller.
pub struct CallerRates {
    rate: Rate,
    limiter: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    counted: AtomicUsize,
}

/// The table is looked over each so many requests: that takes about a millisecond when it is full.
const SWEEP_EACH: usize = 1_024;

impl std::fmt::Debug for CallerRates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallerRates").field("rate", &self.rate).finish_non_exhaustive()
    }
}

/// Who shares one allowance when there are more callers than are told apart.
const OTHERS: &str = "(others)";

impl CallerRates {
    /// The limiter for `rate`. A caller may use the allowance of one unit of time at once, and then goes on at the rate.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let count = NonZeroU32::new(rate.count).unwrap_or(NonZeroU32::MIN);
        let one_each = Duration::from_secs(u64::from(rate.seconds)) / count.get();
        // Rates above one per nanosecond do not exist; the fallback is the kernel's own upper bound per second.
        let quota = Quota::with_period(one_each).unwrap_or_else(|| Quota::per_second(count)).allow_burst(count);
        Self { rate, limiter: RateLimiter::keyed(quota), clock: DefaultClock::default(), counted: AtomicUsize::new(0) }
    }

    /// The rate.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Counts one request of `caller`.
    ///
    /// # Errors
    /// [`RequestError::RateLimited`] with the time after which the next one is let through.
    pub fn count(&self, caller: &str) -> Result<(), RequestError> {
        if self.counted.fetch_add(1, Ordering::Relaxed) % SWEEP_EACH == SWEEP_EACH - 1 {
            self.limiter.retain_recent();
        }
        let key = if self.limiter.len() < limits::RATE_CALLERS { caller } else { OTHERS };
        self.limiter
            .check_key(&key.to_owned())
            .map_err(|early| RequestError::RateLimited { retry_after: early.wait_time_from(self.clock.now()) })
    }
}

/// What all deployments share.
#[derive(Debug)]
pub struct Admission {
    /// Requests under way over all deployments.
    pub all: Permits,
    /// Memory for bodies.
    pub bodies: BodyMemory,
    /// Memory for answers that are kept.
    pub answers: CacheMemory,
    per_deployment: usize,
    wait: Duration,
}

impl Admission {
    /// As configured.
    #[must_use]
    pub fn new(config: &LimitsConfig) -> Self {
        Self {
            all: Permits::new("limits.in_flight", config.in_flight, config.queue_wait.0),
            bodies: BodyMemory::new(config.body_memory.0),
            answers: CacheMemory::new(config.cache_memory),
            per_deployment: config.in_flight_per_deployment,
            wait: config.queue_wait.0,
        }
    }

    /// The permits of one deployment.
    #[must_use]
    pub fn of_deployment(&self) -> Permits {
        Permits::new("limits.in_flight_per_deployment", self.per_deployment, self.wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_in_a_queue_that_has_an_end() {
        let permits = Arc::new(Permits::new("limits.in_flight", 1, Duration::from_secs(1)));
        let deadline = Instant::now() + LONG;
        let held = permits.acquire(deadline).await.unwrap();
        let waiting = tokio::spawn({
            let permits = Arc::clone(&permits);
            async move { permits.acquire(deadline).await.is_ok() }
        });
        tokio::task::yield_now().await;
        // One permit, one place in the queue: the third is refused at once.
        let refused = permits.acquire(deadline).await.unwrap_err();
        assert!(matches!(refused, RequestError::Overloaded { bound: "limits.in_flight" }));
        drop(held);
        assert!(waiting.await.unwrap());
        assert_eq!(permits.free(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_the_patience_or_the_deadline_whichever_comes_first() {
        let permits = Permits::new("limits.in_flight", 1, Duration::from_secs(1));
        let now = Instant::now();
        let _held = permits.acquire(now + LONG).await.unwrap();
        assert!(matches!(permits.acquire(now + LONG).await, Err(RequestError::Overloaded { .. })));
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(matches!(permits.acquire(soon).await, Err(RequestError::DeadlineExceeded)));
        advance(LONG).await;
        assert_eq!(permits.waiting.load(Ordering::Relaxed), 0, "every place was given back");
    }

    #[test]
    fn bodies_share_their_memory_and_give_it_back() {
        let memory = BodyMemory::new(10 * limits::BODY_BLOCK_BYTES as u64);
        let (mut a, mut b) = (memory.share(), memory.share());
        a.cover(1).unwrap();
        a.cover(8 * limits::BODY_BLOCK_BYTES).unwrap();
        b.cover(2 * limits::BODY_BLOCK_BYTES).unwrap();
        assert!(b.cover(2 * limits::BODY_BLOCK_BYTES + 1).is_err());
        drop(a);
        b.cover(10 * limits::BODY_BLOCK_BYTES).unwrap();
        drop(b);
        assert_eq!(memory.free.available_permits(), 10);
    }

    #[test]
    fn a_caller_over_its_rate_is_told_when_to_come_back_and_others_are_not_hurt() {
        let rates = CallerRates::new("3/m".parse().unwrap());
        for _ in 0..3 {
            rates.count("a").unwrap();
        }
        let Err(RequestError::RateLimited { retry_after }) = rates.count("a") else { panic!("let through") };
        assert!(retry_after > Duration::from_secs(15) && retry_after <= Duration::from_secs(20), "{retry_after:?}");
        rates.count("b").unwrap();
    }

    #[test]
    fn a_flood_of_callers_does_not_grow_the_table_without_end() {
        let rates = CallerRates::new("1/h".parse().unwrap());
        let let_through = (0..limits::RATE_CALLERS + 1_000).filter(|n| rates.count(&n.to_string()).is_ok()).count();
        assert_eq!(let_through, limits::RATE_CALLERS + 1, "the rest shares one allowance");
        assert!(rates.limiter.len() <= limits::RATE_CALLERS + 1);
    }
}
