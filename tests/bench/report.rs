//! What is printed, and kept in `loadtest/RESULTS.md`.

use crate::{
    figures::{Samples, ms},
    hops::{Floor, Hops, Kind},
    idle::Idle,
    many::Many,
    mesh::Memory,
};
use slipway_tests::results::{conditions, load, write_head};
use std::time::Duration;

/// The report as it grows; every line is printed at once.
pub struct Report {
    text: String,
    floor: Duration,
}

impl Report {
    pub fn begin() -> Self {
        let mut report = Self { text: String::new(), floor: Duration::ZERO };
        report.line("# What the mesh costs\n\nWritten by `make bench` (`cargo bench --package slipway-tests`); the effects of the services are");
        report.line("simulated, the broker, the log, the leases and the databases of the sink-writer are real. Each service is a process of");
        report.line("its own, and all of them share the machine with the broker and with the bench.\n");
        report.line(conditions().trim_end());
        report
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub fn idle(&mut self, idle: &Result<Idle, String>) {
        self.line("\n## Memory of `slipway up` when idle (target: under 80 MiB without nats-server)\n");
        match idle {
            Ok(idle) => {
                let met = verdict(idle.now < 80.0);
                self.line(&format!(
                    "{:.1} MiB resident, {:.1} MiB at most ({} build): {met}",
                    idle.now, idle.peak, idle.build
                ));
            }
            Err(reason) => self.line(&format!("not measured: {reason}")),
        }
    }

    pub fn floor(&mut self, floor: &Floor) {
        self.floor = floor.fetched.percentile(50);
        self.line("\n## JetStream alone (`sync_interval: always`, one message of 1 KiB at a time)\n");
        self.table("from publish to");
        self.samples("acknowledgement: the disk has it", &floor.acknowledged);
        self.samples("a waiting pull consumer has it", &floor.fetched);
    }

    pub fn hops(&mut self, hops: &Hops) {
        let (p50, p99) = (hops.events.percentile(50), hops.events.percentile(99));
        self.line("\n## From a fact to the services that are told of it, one deployment at a time\n\nFrom the broker's time of the append to the moment at which a service has the fact in its view and asks what is due: the services'");
        self.line(
            "own metric `slipway_hop_seconds`, every fact at every service it rings at. Nothing is answered yet.\n",
        );
        self.line(&format!(
            "| p50 | p99 | samples |\n|--:|--:|--:|\n| {} | {} | {} |",
            ms(p50),
            ms(p99),
            hops.events.count()
        ));
        self.line("\n## From fact to fact, one deployment at a time\n\nBy the broker's clock, from one append to the next: delivery, decision, lease where the service holds one, append.\n");
        self.table("hop");
        for hop in &hops.hops {
            self.samples(&format!("{}{}", hop.name, if hop.kind == Kind::Inside { " *" } else { "" }), &hop.samples);
        }
        self.samples("**all hops from service to service**", &hops.crossing);
        self.line("\nThe target is p50 under 2 ms beside the floor.\n");
        self.beside("Told and asking what is due, before anything is done or written", p50);
        self.beside("Only the hop in which a service does nothing but decide and write", hops.bare.percentile(50));
        self.beside(
            "All hops from service to service, with what the services do meanwhile",
            hops.crossing.percentile(50),
        );
        self.line("\n## Overhead of the mesh from `requested` to `released`, without the validator's load (target: under 2 s)\n");
        self.table("");
        self.samples("requested → released", &hops.overhead);
        self.line(&format!("\n{}", verdict(hops.overhead.percentile(99) < Duration::from_secs(2))));
    }

    pub fn many(&mut self, many: &Many) {
        self.line(&format!("\n## {} deployments at once\n", many.count));
        let seconds = many.wall.as_secs_f64();
        let rate = many.facts as f64 / seconds.max(f64::MIN_POSITIVE);
        self.line(&format!(
            "{} released of {}, {} of them with one revision and no question asked twice. {} facts in {seconds:.1} s: {rate:.0} facts/s, {:.1} deployments/s.\n",
            many.released, many.count, many.straight, many.facts, many.released as f64 / seconds.max(f64::MIN_POSITIVE)
        ));
        self.table("");
        self.samples("requested → released", &many.overhead);
        self.line("\n| process | before, MiB | after, MiB | at most, MiB |\n|---|--:|--:|--:|");
        for after in &many.after {
            let before = many.before.iter().find(|before| before.name == after.name).map_or(0.0, |before| before.now);
            let Memory { name, now, peak } = after;
            self.line(&format!("| {name} | {before:.1} | {now:.1} | {peak:.1} |"));
        }
        if !many.warnings.is_empty() {
            let told: Vec<_> = many.warnings.iter().map(|(service, count)| format!("{service} {count}")).collect();
            self.line(&format!("\nLines of warnings and errors: {}.", told.join(", ")));
        }
        if !many.standing.is_empty() {
            self.line(&format!("\nNot released, for example:\n```\n{}```", many.standing));
        }
    }

    fn beside(&mut self, what: &str, p50: Duration) {
        let floor = self.floor;
        let beside = p50.saturating_sub(floor);
        let met = verdict(beside < Duration::from_millis(2));
        self.line(&format!("- {what}: {} - {} = {}: {met}", ms(p50), ms(floor), ms(beside)));
    }

    fn table(&mut self, what: &str) {
        self.line(&format!("| {what} | p50 | p99 | samples |\n|---|--:|--:|--:|"));
    }

    fn samples(&mut self, name: &str, samples: &Samples) {
        self.line(&format!(
            "| {name} | {} | {} | {} |",
            ms(samples.percentile(50)),
            ms(samples.percentile(99)),
            samples.count()
        ));
    }

    /// Keeps it.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.line(&format!("\nLoad of the machine when it ended: {}", load()));
        write_head(&self.text)?;
        println!("written to loadtest/RESULTS.md");
        Ok(())
    }
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
