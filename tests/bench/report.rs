//! What is printed, and kept in `loadtest/RESULTS.md`.

use crate::{
    figures::{Samples, ms},
    hops::{Floor, Hops, Kind},
    idle::Idle,
    many::Many,
    mesh::Memory,
};
use slipway_testkit::workspace;
use std::{fs, time::Duration};

/// Between these stands what `make bench-inference` wrote. It stays as it is.
const OTHERS: (&str, &str) = ("<!-- bench-inference: begin -->", "<!-- bench-inference: end -->");

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
        report.line(&format!("- date: {}", date()));
        report.line(&format!("- machine: {}", machine()));
        report.line(&format!(
            "- build: {}",
            if cfg!(debug_assertions) {
                "debug (not what is shipped: figures of a release build are smaller)"
            } else {
                "release"
            }
        ));
        report.line(&format!("- load of the machine when it began: {}", load()));
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
        let file = workspace().join("loadtest/RESULTS.md");
        if let Some(kept) = others(&fs::read_to_string(&file).unwrap_or_default()) {
            self.text.push_str(&format!("\n{kept}\n"));
        }
        fs::write(&file, &self.text)?;
        println!("written to loadtest/RESULTS.md");
        Ok(())
    }
}

fn others(text: &str) -> Option<&str> {
    let begin = text.find(OTHERS.0)?;
    let length = text.get(begin..)?.find(OTHERS.1)? + OTHERS.1.len();
    text.get(begin..begin + length)
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn date() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    format!("{cores} cores, {model}, {memory} of memory, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
