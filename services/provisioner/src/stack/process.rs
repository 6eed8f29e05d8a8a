//! A program that makes infrastructure, as a process that outlives us if it must.
//!
//! It writes into files and not into pipes: a Go program whose pipe is gone is killed by its next line, and OpenTofu killed in the middle of an
//! apply leaves resources that its state does not know. So when this process ends, the other one goes on, writes its state and lets go of its
//! lock; who comes after waits for it ([`wait_for_who_was_left_behind`]) and then looks at the state. Between the start of a program and the note of it a
//! crash leaves one that nobody waits for; the lock of the state keeps the next one out.

use crate::domain::stack::events::{Event, MAX_LINE};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

/// How often it is looked at: what is made takes seconds to minutes.
const LOOK: Duration = Duration::from_millis(200);
/// How much of its last words is kept where it says nothing in lines.
const LAST_WORDS: usize = 2_000;
/// Bytes that are read at once: who says more gets the rest the next time.
const READ: u64 = 8 * MAX_LINE as u64;
/// Where it is noted who runs.
const RECORD: &str = "running.json";

/// Who runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// In clock ticks since the start of the machine: numbers of processes are used again, both together are not.
    started: u64,
}

/// A process that runs. Dropped before its end it is interrupted, and left behind.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    record: PathBuf,
    lines: Lines,
    said: PathBuf,
    has_ended: bool,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Its exit code; `None` where a signal ended it.
    pub(super) code: Option<i32>,
    /// The end of what it said beside its lines.
    pub(super) last_words: String,
}

impl Running {
    /// Starts it in the folder of a stack. `name` is that of the step.
    pub(super) fn start(mut command: Command, input: Stdio, folder: &Path, name: &str) -> io::Result<Self> {
        let (lines, said) = (lines_of(folder, name), folder.join(format!("{name}.log")));
        command.stdin(input).stdout(File::create(&lines)?).stderr(File::create(&said)?);
        // What ends a terminal's programs, or us, is no reason to end this one.
        command.process_group(0);
        // A shell that puts us in the background has us ignore SIGINT, and a program that is started so could not be told to stop. What is handled
        // here is not ignored there.
        drop(signal(SignalKind::interrupt())?);
        let child = command.spawn()?;
        let record = folder.join(RECORD);
        let mut running = Self { child, record, lines: Lines::of(lines), said, has_ended: false };
        running.note()?;
        Ok(running)
    }

    fn note(&mut self) -> io::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let pid = pid.as_raw_nonzero().get();
        let record = Record { pid, started: alive_since(pid).unwrap_or(0) };
        fs::write(&self.record, serde_json::to_vec(&record)?)
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// Waits for its end, and tells what it says meanwhile.
    pub(super) async fn until_its_end(&mut self, mut tell: impl FnMut(Event)) -> io::Result<Ended> {
        loop {
            let ended = timeout(LOOK, self.child.wait()).await.ok().transpose()?;
            self.has_ended = ended.is_some();
            loop {
                let read = self.lines.read()?;
                read.lines.iter().filter_map(|line| Event::read(line)).for_each(&mut tell);
                if !read.is_more {
                    break;
                }
            }
            if let Some(status) = ended {
                // Who comes after finds a process that is gone, with the note or without.
                let _ = fs::remove_file(&self.record);
                return Ok(Ended { code: status.code(), last_words: last_words(&self.said) });
            }
        }
    }
}

impl Drop for Running {
    /// Asks it to finish what it has begun, to begin nothing else, and to write its state.
    fn drop(&mut self) {
        if let Some(pid) = self.pid().filter(|_| !self.has_ended) {
            tracing::info!(pid = pid.as_raw_nonzero(), "a program that makes infrastructure is told to stop");
            // Who has ended meanwhile needs no telling.
            let _ = kill_process(pid, Signal::INT);
        }
    }
}

/// Waits for a program that an earlier one of us started in this folder, and that works still.
pub(super) async fn wait_for_who_was_left_behind(folder: &Path) {
    let mut is_told = false;
    while let Some(record) = left_behind(folder) {
        if !is_told {
            tracing::info!(pid = record.pid, folder = %folder.display(), "a program that was left behind is waited for");
            is_told = true;
        }
        sleep(LOOK).await;
    }
}

fn left_behind(folder: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&fs::read(folder.join(RECORD)).ok()?).ok()?;
    (alive_since(record.pid) == Some(record.started)).then_some(record)
}

/// When a process that has not ended was started.
fn alive_since(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name, in brackets, may hold anything; the third field is the first behind it.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // One that has ended, and that nobody has asked for, works no more.
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

/// Where the lines of a step are.
pub(super) fn lines_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.jsonl"))
}

/// The lines of a file that grows.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    read: u64,
    begun: Vec<u8>,
}

struct Read {
    lines: Vec<String>,
    is_more: bool,
}

impl Lines {
    const fn of(path: PathBuf) -> Self {
        Self { path, read: 0, begun: Vec::new() }
    }

    /// Those that are whole since the last time. A line that is too long is dropped.
    fn read(&mut self) -> io::Result<Read> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let fresh = file.take(READ).read_to_end(&mut self.begun)?;
        self.read += fresh as u64;
        let is_more = fresh as u64 == READ;
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = self.begun.split_off(whole);
        let lines = std::mem::replace(&mut self.begun, rest);
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line.len() <= MAX_LINE);
        let lines = lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        // Its beginning is gone then, so what is left of it is no JSON and says nothing.
        if self.begun.len() > MAX_LINE {
            self.begun.clear();
        }
        Ok(Read { lines, is_more })
    }
}

fn last_words(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().rev().nth(LAST_WORDS) {
        Some((start, _)) => format!("…{}", &words[start..]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    fn start(script: &str, folder: &Path) -> Running {
        Running::start(shell(script), Stdio::null(), folder, "step").unwrap()
    }

    #[tokio::test]
    async fn it_is_heard_while_it_runs_and_its_end_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let line = r#"{"type":"apply_start","hook":{"resource":{"addr":"a.b"},"action":"create"}}"#;
        // It goes on only when it was heard.
        let script = format!("echo '{line}'; until [ -e heard ]; do sleep 0.05; done; echo no luck >&2; exit 3");
        let mut command = shell(&script);
        command.current_dir(folder.path());
        let mut running = Running::start(command, Stdio::null(), folder.path(), "step").unwrap();
        assert_eq!(left_behind(folder.path()).map(|record| record.pid), running.child.id().map(|id| id as i32));
        let heard = folder.path().join("heard");
        let ended = running.until_its_end(|event| {
            assert!(matches!(event, Event::Begun { .. }));
            File::create(&heard).unwrap();
        });
        assert_eq!(ended.await.unwrap(), Ended { code: Some(3), last_words: "no luck".into() });
        assert!(left_behind(folder.path()).is_none());
    }

    #[tokio::test]
    async fn dropped_it_is_interrupted_and_whoever_comes_next_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let finished = folder.path().join("finished");
        // As OpenTofu does: told to stop, it finishes what it has begun.
        let script = format!(
            "trap 'sleep 0.5; touch {0}; exit 1' INT; touch {0}.begun; while true; do sleep 0.05; done",
            finished.display()
        );
        let running = start(&script, folder.path());
        while !folder.path().join("finished.begun").exists() {
            sleep(LOOK).await;
        }
        drop(running);
        assert!(left_behind(folder.path()).is_some());
        wait_for_who_was_left_behind(folder.path()).await;
        assert!(finished.exists());
    }

    #[test]
    fn a_note_of_a_process_that_is_gone_or_another_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        assert!(left_behind(folder.path()).is_none());
        let me = i32::try_from(std::process::id()).unwrap();
        let note = |record: &Record| {
            fs::write(folder.path().join(RECORD), serde_json::to_vec(record).unwrap()).unwrap();
            left_behind(folder.path()).is_some()
        };
        let started = alive_since(me).unwrap();
        assert!(note(&Record { pid: me, started }));
        assert!(!note(&Record { pid: me, started: started - 1 }));
        fs::write(folder.path().join(RECORD), "{").unwrap();
        assert!(left_behind(folder.path()).is_none());
    }

    #[test]
    fn lines_are_read_whole_and_too_long_ones_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut file = File::create(&path).unwrap();
        let mut lines = Lines::of(path);
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.read().unwrap().lines, ["one"]);
        file.write_all(b"o\n\nthree\n").unwrap();
        assert_eq!(lines.read().unwrap().lines, ["two", "three"]);
        file.write_all(&vec![b'x'; MAX_LINE + 1]).unwrap();
        assert_eq!(lines.read().unwrap().lines, [""; 0]);
        file.write_all(b"\nfour\n").unwrap();
        assert_eq!(lines.read().unwrap().lines, ["four"]);
    }
}
