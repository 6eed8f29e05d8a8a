//! A program that a test starts: its output goes to a file, and it ends with the test.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// How long a program may take to end by itself when its test is over. The longest is a mesh that drains.
const END: Duration = Duration::from_secs(30);
/// How many lines of its log are shown when a test fails.
const SHOWN: usize = 60;

/// A running program. Dropping it asks it to end, waits, and kills it if it does not.
#[derive(Debug)]
pub struct Program {
    name: String,
    log: PathBuf,
    child: Child,
    ended: Option<ExitStatus>,
    farewell: Signal,
}

impl Program {
    /// Starts `command` with both outputs appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: impl Into<String>, mut command: Command, log: &Path) -> Self {
        let name = name.into();
        let out = File::options().create(true).append(true).open(log).expect("a log can be written");
        let err = out.try_clone().expect("a log has a second handle");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} cannot be started ({command:?}): {error}"));
        Self { name, log: log.to_owned(), child, ended: None, farewell: Signal::TERM }
    }

    /// The signal that ends it in good order, if that is not SIGTERM.
    #[must_use]
    pub const fn ends_with(mut self, signal: Signal) -> Self {
        self.farewell = signal;
        self
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.status().is_none()
    }

    /// How it ended, if it did.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running()
            && let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw)
        {
            // It may end between the look and the signal.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it as a power cut would.
    pub async fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.ended(Duration::from_secs(10)).await;
    }

    /// Ends it as an operator would, and tells how it ended.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(self.farewell);
        self.ended(END).await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not within `timeout`.
    pub async fn ended(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end within {timeout:?}:\n{}", self.name, self.last_words());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until `ready` holds.
    ///
    /// # Panics
    /// When it ends before, or `ready` does not hold within `timeout`; with the end of its log.
    pub async fn wait_ready<F: Future<Output = bool>>(&mut self, timeout: Duration, mut ready: impl FnMut() -> F) {
        let deadline = Instant::now() + timeout;
        while !ready().await {
            if let Some(status) = self.status() {
                panic!("{} ended with {status} before it was ready:\n{}", self.name, self.last_words());
            }
            assert!(Instant::now() < deadline, "{} is not ready within {timeout:?}:\n{}", self.name, self.last_words());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// All it has said.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines it said.
    #[must_use]
    pub fn last_words(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

impl Drop for Program {
    #[expect(clippy::print_stderr, reason = "a failed test shows what its programs said last")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the last words of {}:\n{}\n---", self.name, self.last_words());
        }
        self.signal(self.farewell);
        // No async here: the runtime may be on its way out.
        let deadline = Instant::now() + END;
        while self.is_running() {
            if Instant::now() > deadline {
                self.signal(Signal::KILL);
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether a program was ended by this signal.
#[must_use]
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}
