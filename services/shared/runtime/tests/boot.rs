//! A service as an operating system process: flags, signals, exit codes, the last words. The test binary runs itself again
//! as the service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use serde::{Deserialize, Serialize};
use slipway_kernel::Refusal;
use slipway_runtime::{Common, Frame, Secret, ServiceConfig, boot};
use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    process::{Child, Command, ExitCode, Output, Stdio},
    time::{Duration, Instant},
};

const AS_SERVICE: &str = "RUNTIME_TEST_AS_SERVICE";

#[derive(Serialize, Deserialize)]
#[serde(default)]
struct Config {
    common: Common,
    behave: Behaviour,
    key: Secret,
    limit: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { common: Common::default(), behave: Behaviour::Wait, key: Secret::default(), limit: 1 }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Behaviour {
    Wait,
    End,
    Fail,
    Panic,
    Ignore,
    Trace,
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "validator";
    const ABOUT: &'static str = "Behaves as it is told.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        if self.limit == 0 { vec![Refusal::new("limit", 0, "1 or more")] } else { Vec::new() }
    }
}

async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    println!("started");
    match config.behave {
        Behaviour::Wait => frame.shutdown.cancelled().await,
        Behaviour::End => {}
        Behaviour::Fail => anyhow::bail!(anyhow::anyhow!("the disk is full").context("cannot write")),
        Behaviour::Panic => panic!("out of {}", "order"),
        Behaviour::Ignore => std::future::pending().await,
        Behaviour::Trace => {
            let began = Instant::now();
            for _ in 0..20_000 {
                tracing::info_span!(target: "slipway_validator", "busy").in_scope(|| ());
            }
            println!("{}", began.elapsed().as_millis());
        }
    }
    println!("ended");
    Ok(())
}

fn main() -> ExitCode {
    if std::env::var_os(AS_SERVICE).is_some() {
        return boot::<Config, _, _>("validator", run);
    }
    let cases: [(&str, fn()); 9] = [
        ("a_service_drains_on_sigterm_and_sigint", a_service_drains_on_sigterm_and_sigint),
        ("a_service_that_ends_ends_its_process", a_service_that_ends_ends_its_process),
        ("a_failure_is_told_once_with_its_causes", a_failure_is_told_once_with_its_causes),
        ("a_panic_is_a_failure_and_goes_into_the_log", a_panic_is_a_failure_and_goes_into_the_log),
        (
            "a_service_that_does_not_drain_is_dropped_at_the_bound",
            a_service_that_does_not_drain_is_dropped_at_the_bound,
        ),
        ("a_second_signal_ends_at_once", a_second_signal_ends_at_once),
        ("a_refused_configuration_ends_with_78_and_all_reasons", a_refused_configuration_ends_with_78_and_all_reasons),
        (
            "the_effective_configuration_is_dumped_without_secrets",
            the_effective_configuration_is_dumped_without_secrets,
        ),
        ("a_silent_collector_slows_nothing", a_silent_collector_slows_nothing),
    ];
    let wanted = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    for (name, case) in
        cases.into_iter().filter(|(name, _)| wanted.as_ref().is_none_or(|part| name.contains(part.as_str())))
    {
        case();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

fn service(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(AS_SERVICE, "1").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The service, once it runs.
fn started(arguments: &[&str]) -> Child {
    let mut child = service(arguments).spawn().unwrap();
    let mut line = [0; "started\n".len()];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"started\n");
    child
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// What the process left, which must be within half a minute.
fn ended(mut child: Child) -> (i32, String, String) {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            panic!("the process did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    parts(&child.wait_with_output().unwrap())
}

fn parts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn a_service_drains_on_sigterm_and_sigint() {
    for (sent, name) in [(rustix::process::Signal::TERM, "SIGTERM"), (rustix::process::Signal::INT, "SIGINT")] {
        let child = started(&["--set", "common.telemetry.log=json"]);
        signal(&child, sent);
        let (code, out, log) = ended(child);
        assert_eq!((code, out.as_str()), (0, "ended\n"), "{log}");
        assert!(log.contains(&format!("\"fields\":{{\"signal\":\"{name}\"}}")), "{log}");
        assert!(log.lines().all(|line| line.starts_with('{')), "{log}");
    }
}

fn a_service_that_ends_ends_its_process() {
    assert_eq!(ended(started(&["--set", "behave=end"])).0, 0);
}

fn a_failure_is_told_once_with_its_causes() {
    let (code, _, log) = ended(started(&["--set", "behave=fail", "--set", "common.telemetry.filter=off"]));
    assert_eq!(code, 1);
    assert_eq!(log, "slipway-validator: task validator/run failed: cannot write: the disk is full\n");
}

fn a_panic_is_a_failure_and_goes_into_the_log() {
    let (code, _, log) = ended(started(&["--set", "behave=panic", "--set", "common.telemetry.log=json"]));
    assert_eq!(code, 1);
    let mut lines = log.lines();
    let first = lines.next().unwrap();
    assert!(first.contains("\"message\":\"panic: out of order\"") && first.contains("boot.rs:"), "{log}");
    assert!(log.ends_with("slipway-validator: task validator/run failed: panicked: out of order\n"), "{log}");
}

fn a_service_that_does_not_drain_is_dropped_at_the_bound() {
    let child = started(&["--set", "behave=ignore", "--set", "common.drain=1s"]);
    let began = Instant::now();
    signal(&child, rustix::process::Signal::TERM);
    let (code, out, log) = ended(child);
    assert!((Duration::from_millis(900)..Duration::from_secs(10)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(log.contains("still running 1 s after the shutdown began: validator/run"), "{log}");
}

fn a_second_signal_ends_at_once() {
    let mut child = started(&["--set", "behave=ignore", "--set", "common.drain=1h"]);
    let mut log = BufReader::new(child.stderr.take().unwrap());
    signal(&child, rustix::process::Signal::TERM);
    let mut line = String::new();
    while !line.contains("shutting down") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the log ended");
    }
    signal(&child, rustix::process::Signal::INT);
    assert_eq!(ended(child).0, 1);
}

fn a_refused_configuration_ends_with_78_and_all_reasons() {
    let output = service(&["--set", "limit=0", "--set", "behave=dance"])
        .env("SLIPWAY_VALIDATOR_COMON__DRAIN", "5s")
        .env("SLIPWAY_VALIDATOR_KEY", "file:/no/such/key")
        .output()
        .unwrap();
    let (code, _, log) = parts(&output);
    assert_eq!(code, 78, "{log}");
    for part in ["behave: \"dance\" (--set behave)", "comon: ", "key: ", "limit: 0"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert_eq!(log.lines().count(), 5, "{log}");
    assert_eq!(service(&["--nonsense"]).output().unwrap().status.code(), Some(2));
}

fn the_effective_configuration_is_dumped_without_secrets() {
    let output =
        service(&["--dump-config", "--set", "limit=7"]).env("SLIPWAY_VALIDATOR_KEY", "hunter2").output().unwrap();
    let (code, text, log) = parts(&output);
    assert_eq!(code, 0, "{log}");
    assert!(text.contains("limit = 7") && text.contains("key = \"***\"") && !text.contains("hunter2"), "{text}");
}

fn a_silent_collector_slows_nothing() {
    // It takes connections, in the kernel at least, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("common.telemetry.otlp_endpoint=http://{}", silent.local_addr().unwrap());
    let began = Instant::now();
    let (code, out, log) = ended(started(&["--set", "behave=trace", "--set", &endpoint]));
    assert_eq!(code, 0, "{log}");
    let took_ms: u64 = out.lines().next().unwrap().parse().unwrap();
    assert!(took_ms < 10_000, "20,000 spans took {took_ms} ms");
    assert!(began.elapsed() < Duration::from_secs(20), "the process took {:?}", began.elapsed());
}
