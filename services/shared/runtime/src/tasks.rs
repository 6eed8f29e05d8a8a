//! Supervised tasks: nothing runs in the background that nobody would miss when it dies.
//!
//! A task that fails or panics ends the process in order, because a service with a dead part inside looks alive and is
//! not; whoever runs the process starts it again. Where a part can begin anew by itself, [`Tasks::spawn_restarting`]
//! does so with a growing pause.

use crate::{clock::Clock, metrics::Metrics, telemetry::with_service};
use anyhow::anyhow;
use futures::FutureExt as _;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error, warn};

/// First pause before a restart. Long enough that a task failing at once does not burn a core.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause: a recovered dependency is picked up within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A task that ran this long was well; its next failure is a new one.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// What a task may end with: nothing, or a result whose error counts as a failure.
pub trait Outcome: Send + 'static {
    /// The same as a result.
    ///
    /// # Errors
    /// The task's own.
    fn into_result(self) -> anyhow::Result<()>;
}

impl Outcome for () {
    fn into_result(self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl<E: Into<anyhow::Error> + Send + 'static> Outcome for Result<(), E> {
    fn into_result(self) -> anyhow::Result<()> {
        self.map_err(Into::into)
    }
}

/// What the tasks of one process have in common.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor {
    pub(crate) shutdown: CancellationToken,
    /// Ends tasks that did not end by themselves.
    kill: CancellationToken,
    tracker: TaskTracker,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    failure: Option<anyhow::Error>,
    running: BTreeMap<(&'static str, &'static str), usize>,
}

/// The tasks of a process did not end in time, and were dropped.
#[derive(Debug, thiserror::Error)]
#[error("still running {} s after the shutdown began: {}", bound.as_secs(), tasks.join(", "))]
pub struct TasksNotDrained {
    /// The bound.
    pub bound: Duration,
    /// `service/task` of each that was running.
    pub tasks: Vec<String>,
}

impl Supervisor {
    pub(crate) fn new() -> Self {
        Self {
            shutdown: CancellationToken::new(),
            kill: CancellationToken::new(),
            tracker: TaskTracker::new(),
            shared: Arc::default(),
        }
    }

    pub(crate) fn tasks(&self, service: &'static str, clock: Clock, metrics: &Metrics) -> Tasks {
        Tasks { supervisor: self.clone(), service, clock, telemetry: TaskMetrics::register(metrics) }
    }

    /// Waits for all tasks, at most `bound`, then drops those left.
    pub(crate) async fn drain(&self, bound: Duration) -> Result<(), TasksNotDrained> {
        self.tracker.close();
        if tokio::time::timeout(bound, self.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let tasks =
            self.with(|shared| shared.running.keys().map(|(service, task)| format!("{service}/{task}")).collect());
        self.kill.cancel();
        Err(TasksNotDrained { bound, tasks })
    }

    /// The first failure of any task.
    pub(crate) fn take_failure(&self) -> Option<anyhow::Error> {
        self.with(|shared| shared.failure.take())
    }

    fn with<R>(&self, change: impl FnOnce(&mut Shared) -> R) -> R {
        change(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts the tasks of one service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks {
    supervisor: Supervisor,
    service: &'static str,
    clock: Clock,
    telemetry: TaskMetrics,
}

impl Tasks {
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Runs a task until it ends. An error or a panic is logged, counted, and shuts the process down; the process then
    /// ends with it. A task should end by itself soon after the shutdown token is cancelled.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        let tasks = self.clone();
        self.track(name, async move {
            if let Err(error) = tasks.run(name, task).await {
                error!(
                    service = tasks.service,
                    task = name,
                    error = format!("{error:#}"),
                    "task failed, the process shuts down"
                );
                let error = error.context(format!("task {}/{name} failed", tasks.service));
                tasks.supervisor.with(|shared| {
                    shared.failure.get_or_insert(error);
                });
                tasks.supervisor.shutdown.cancel();
            }
        });
    }

    /// Runs a task again whenever it fails or panics, after 500 ms, then twice as long each time up to 30 s (anew from
    /// 500 ms once it ran for a minute). A task that ends well is not run again; after the shutdown began, none is.
    pub fn spawn_restarting<F, Fut>(&self, name: &'static str, mut start: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Outcome,
    {
        let tasks = self.clone();
        self.track(name, async move {
            let mut pause = FIRST_PAUSE;
            while !tasks.supervisor.shutdown.is_cancelled() {
                let began = tasks.clock.monotonic();
                let Err(error) = tasks.run(name, start()).await else { return };
                if tasks.clock.monotonic().duration_since(began) >= HEALTHY_AFTER {
                    pause = FIRST_PAUSE;
                }
                warn!(
                    service = tasks.service,
                    task = name,
                    error = format!("{error:#}"),
                    pause_ms = pause.as_millis(),
                    "task failed, starting it again"
                );
                tokio::select! {
                    () = tasks.clock.sleep(pause) => {}
                    () = tasks.supervisor.shutdown.cancelled() => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    /// How many tasks of each name are running.
    #[must_use]
    pub fn running(&self) -> BTreeMap<&'static str, usize> {
        let mine = |(&(service, task), &count): (&(&str, &'static str), &usize)| {
            (service == self.service).then_some((task, count))
        };
        self.supervisor.with(|shared| shared.running.iter().filter_map(mine).collect())
    }

    fn track(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let running = Running::begin(self, name);
        let (kill, service) = (self.supervisor.kill.clone(), self.service);
        let supervised = async move {
            let _running = running;
            tokio::select! {
                () = task => debug!(service, task = name, "task ended"),
                () = kill.cancelled() => warn!(service, task = name, "task dropped, it did not end in time"),
            }
        };
        self.supervisor.tracker.spawn(with_service(self.service, supervised));
    }

    async fn run<F>(&self, name: &'static str, task: F) -> anyhow::Result<()>
    where
        F: Future,
        F::Output: Outcome,
    {
        let result = match AssertUnwindSafe(task).catch_unwind().await {
            Ok(outcome) => outcome.into_result().map_err(|error| (Failure::Error, error)),
            Err(panic) => Err((Failure::Panic, anyhow!("panicked: {}", panic_text(panic.as_ref())))),
        };
        result.map_err(|(kind, error)| {
            self.telemetry.failures.get_or_create(&FailureLabels { task: name, kind }).inc();
            error
        })
    }
}

/// Counts a task as running until dropped, however it ends.
struct Running {
    tasks: Tasks,
    name: &'static str,
}

impl Running {
    fn begin(tasks: &Tasks, name: &'static str) -> Self {
        tasks.supervisor.with(|shared| *shared.running.entry((tasks.service, name)).or_default() += 1);
        tasks.telemetry.running.get_or_create(&TaskLabel { task: name }).inc();
        Self { tasks: tasks.clone(), name }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let key = (self.tasks.service, self.name);
        self.tasks.supervisor.with(|shared| {
            if let Some(count) = shared.running.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    shared.running.remove(&key);
                }
            }
        });
        self.tasks.telemetry.running.get_or_create(&TaskLabel { task: self.name }).dec();
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text")
}

#[derive(Clone)]
struct TaskMetrics {
    running: Family<TaskLabel, Gauge>,
    failures: Family<FailureLabels, Counter>,
}

impl fmt::Debug for TaskMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskMetrics")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabel {
    task: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    task: &'static str,
    kind: Failure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Failure {
    Error,
    Panic,
}

impl EncodeLabelValue for Failure {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        fmt::Write::write_str(
            encoder,
            match self {
                Self::Error => "error",
                Self::Panic => "panic",
            },
        )
    }
}

impl TaskMetrics {
    fn register(metrics: &Metrics) -> Self {
        let new = Self { running: Family::default(), failures: Family::default() };
        metrics.with(|registry| {
            registry.register("tasks_running", "Supervised tasks that run", new.running.clone());
            registry.register("task_failures", "Supervised tasks that failed or panicked", new.failures.clone());
        });
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn tasks() -> (Supervisor, Tasks, Metrics) {
        let (supervisor, metrics) = (Supervisor::new(), Metrics::for_service("test"));
        let tasks = supervisor.tasks("test", Clock::system(), &metrics);
        (supervisor, tasks, metrics)
    }

    #[tokio::test]
    async fn a_task_that_panics_shuts_the_process_down_and_is_counted() {
        let (supervisor, tasks, metrics) = tasks();
        async fn dies() {
            panic!("the index is out of bounds");
        }
        tasks.spawn("reader", dies());
        supervisor.shutdown.cancelled().await;
        supervisor.drain(Duration::from_secs(5)).await.unwrap();
        let failure = format!("{:#}", supervisor.take_failure().unwrap());
        assert_eq!(failure, "task test/reader failed: panicked: the index is out of bounds");
        let text = metrics.encode().unwrap();
        assert!(text.contains(r#"slipway_task_failures_total{service="test",task="reader",kind="panic"} 1"#), "{text}");
        assert!(text.contains(r#"slipway_tasks_running{service="test",task="reader"} 0"#), "{text}");
    }

    #[tokio::test]
    async fn a_task_that_fails_shuts_the_process_down_and_the_first_failure_stands() {
        let (supervisor, tasks, _) = tasks();
        tasks.spawn("first", async { Err::<(), _>(anyhow!("the disk is full").context("cannot write")) });
        supervisor.shutdown.cancelled().await;
        tasks.spawn("second", async { Err::<(), _>(std::io::Error::other("later")) });
        supervisor.drain(Duration::from_secs(5)).await.unwrap();
        let failure = format!("{:#}", supervisor.take_failure().unwrap());
        assert_eq!(failure, "task test/first failed: cannot write: the disk is full");
    }

    #[tokio::test]
    async fn a_task_that_ends_well_ends_alone() {
        let (supervisor, tasks, _) = tasks();
        tasks.spawn("short", async {});
        supervisor.drain(Duration::from_secs(5)).await.unwrap();
        assert!(!supervisor.shutdown.is_cancelled());
        assert!(supervisor.take_failure().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_restarting_task_is_started_again_with_growing_pauses() {
        let (supervisor, tasks, _) = tasks();
        let starts = Arc::new(AtomicU32::new(0));
        let began = tokio::time::Instant::now();
        tasks.spawn_restarting("flaky", {
            let starts = Arc::clone(&starts);
            move || {
                let n = starts.fetch_add(1, Ordering::SeqCst);
                async move {
                    assert!(n != 1, "second time");
                    if n < 3 { Err(anyhow!("failure {n}")) } else { Ok(()) }
                }
            }
        });
        supervisor.drain(Duration::from_secs(60)).await.unwrap();
        assert_eq!(starts.load(Ordering::SeqCst), 4);
        let took = began.elapsed();
        assert!(
            (Duration::from_millis(3_500)..Duration::from_millis(3_600)).contains(&took),
            "0.5 + 1 + 2 s, took {took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_named_and_dropped() {
        let (supervisor, tasks, _) = tasks();
        tasks.spawn("stubborn", std::future::pending::<()>());
        let error = supervisor.drain(Duration::from_secs(25)).await.unwrap_err();
        assert_eq!(error.to_string(), "still running 25 s after the shutdown began: test/stubborn");
        supervisor.tracker.wait().await;
        assert!(tasks.running().is_empty());
    }
}
