//! What is left of the best throughput when three times as much is asked for: at a worker that is asked directly, and through the door of
//! a mesh.
//!
//! Closed loops of more and more callers find the peak; then an open loop offers three times the peak, each request with a deadline. A
//! request counts when it is answered in time. Each request is a few milliseconds of work for the engine, so that what is measured is not
//! the load generator, which shares the machine. `make bench-overload`, or `cargo bench --package slipway-tests --bench overload`.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it stands on the testkit, which panics too")]

mod servers;

use servers::Server;
use slipway_loadtest::{FailureClass, Limits, Report, Same, Shape, Stop, run};
use slipway_tests::results::{conditions, write_section};
use std::{sync::Arc, time::Duration};

/// Callers of the closed loops.
const CALLERS: [usize; 4] = [1, 4, 16, 48];
const PROBED: Duration = Duration::from_secs(4);
/// How many times the peak is offered, and for how long.
const FACTOR: f64 = 3.0;
const OVERLOADED: Duration = Duration::from_secs(10);
/// What must be left of the peak.
const WANTED: f64 = 0.9;
/// A deadline that every queue can be worked off in.
const LONG_MS: u64 = 2_000;
/// And one that none can: so many times what a request takes that is alone, which is as long as what runs, its own run and not one more take
/// where all cores are busy. A number of milliseconds would be a different question on each machine.
const SHORT: f64 = 3.5;

/// What came of one server and deadline.
struct Row {
    what: &'static str,
    deadline_ms: u64,
    peak: f64,
    report: Report,
}

impl Row {
    /// Answers within their time, a second.
    fn goodput(&self) -> f64 {
        self.report.ok as f64 / self.report.sending_s
    }

    fn share(&self) -> f64 {
        self.goodput() / self.peak
    }

    fn line(&self) -> String {
        let Report { latency, lag, late, failures, .. } = &self.report;
        let others: Vec<String> = failures.iter().map(|(class, count)| format!("{count} {class}")).collect();
        format!(
            "| {} | {} ms | {:.0} | {:.0} | {:.0} | {:.0} % | {:.0} / {:.0} ms | {} | {:.1} ms{} |",
            self.what,
            self.deadline_ms,
            self.peak,
            self.peak * FACTOR,
            self.goodput(),
            100.0 * self.share(),
            latency.p50_ms,
            latency.p99_ms,
            others.join(", "),
            lag.p99_ms,
            if *late { ", too late" } else { "" }
        )
    }

    /// Whether enough is left, and everybody else was refused in a way that says so.
    fn is_good(&self) -> bool {
        let polite = |class: &FailureClass| matches!(class, FailureClass::Status(429 | 503 | 504));
        self.share() >= WANTED && self.report.failures.keys().all(polite)
    }
}

async fn measure(server: &Server) -> Vec<Row> {
    let limits = Limits { max_in_flight: 4_096, ..Limits::default() };
    let load = async |deadline_ms, shape| {
        let workload = Arc::new(Same(server.request(deadline_ms)));
        run(&server.target, workload, shape, limits, &Stop::default()).await.expect("a run")
    };
    let (mut peak, mut alone_ms) = (0.0_f64, f64::INFINITY);
    for callers in CALLERS {
        let report = load(10_000, Shape::Closed { callers, duration: PROBED }).await;
        assert_eq!(report.failed(), 0, "{}: {callers} callers are no overload: {:?}", server.what, report.failures);
        peak = peak.max(report.throughput);
        alone_ms = alone_ms.min(report.latency.p50_ms);
    }
    let mut rows = Vec::new();
    for deadline_ms in [LONG_MS, (alone_ms * SHORT).round() as u64] {
        let report = load(deadline_ms, Shape::Open { rate: peak * FACTOR, duration: OVERLOADED }).await;
        rows.push(Row { what: server.what, deadline_ms, peak, report });
    }
    rows
}

fn main() -> std::io::Result<()> {
    slipway_runtime::tls::install_provider();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut text = format!(
        "# What is left under overload\n\nWritten by `make bench-overload`.\n\n{}\n{}\n{}\n",
        conditions(),
        "| asked | deadline | peak /s | offered /s | in time /s | of the peak | p50 / p99 | refused | generator late by |",
        "|---|--:|--:|--:|--:|--:|--:|---|--:|"
    );
    println!("{text}");
    let rows = runtime.block_on(async {
        let mut rows = Vec::new();
        for server in [Server::worker().await, Server::door().await] {
            for row in measure(&server).await {
                println!("{}", row.line());
                rows.push(row);
            }
        }
        rows
    });
    text.extend(rows.iter().map(|row| format!("{}\n", row.line())));
    let verdict = if rows.iter().any(|row| row.report.late) {
        "no verdict: the generator was too late"
    } else if rows.iter().all(Row::is_good) {
        "met"
    } else {
        "MISSED"
    };
    let verdict = format!("At least {:.0} % of the peak at {FACTOR:.0} times as much: {verdict}.", 100.0 * WANTED);
    println!("{verdict}");
    write_section("overload", &format!("{text}\n{verdict}"))?;
    println!("written to loadtest/RESULTS.md");
    Ok(())
}
