//! Settings.

use serde::{Deserialize, Serialize};
use slipway_bus::BusConfig;
use slipway_kernel::{ByteSize, Refusal, Span, spec::SecretReference};
use slipway_runtime::{Common, ServiceConfig};

/// Settings of the sink-writer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every service has.
    pub common: Common,
    /// The broker.
    pub bus: BusConfig,
    /// The database of the mesh's own, which replicas share.
    pub database: DatabaseConfig,
    /// Embedded databases, where there is no other.
    pub embedded: Embedded,
    /// How results are taken from the queue.
    pub batch: Batch,
    /// How rows are gathered for outputs that keep many in one object.
    pub objects: Objects,
    /// The copy of the log.
    pub ledger: LedgerConfig,
}

/// The database of the mesh's own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DatabaseConfig {
    /// The URL of a PostgreSQL, by reference: it holds the ledger, results of validation, and those of deployments with a `sqlite` output.
    /// Unset: files in the data folder, which one machine has.
    pub url: Option<SecretReference>,
}

/// Embedded databases, in the data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Embedded {
    /// Whether the data folder outlives this process's place. It does not in a pod without a volume; then outputs that lie there are refused.
    pub lasting: bool,
    /// Results of deployments with a `sqlite` output.
    pub results_file: String,
    /// Results of validation traffic.
    pub probes_file: String,
}

impl Default for Embedded {
    fn default() -> Self {
        Self { lasting: true, results_file: "outputs.db".to_owned(), probes_file: "probes.db".to_owned() }
    }
}

/// How results are taken from the queue.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// The most results of one transaction. A thousand rows an UNNEST is where PostgreSQL stops getting faster.
    pub max: usize,
    /// How long the first result of a batch waits for others.
    pub max_delay: Span,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max: 1_000, max_delay: Span::millis(20) }
    }
}

/// How rows are gathered for outputs that keep many in one object. A result is acknowledged when its object is durable, so it is held
/// until then, and the broker is told every ten seconds that it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Objects {
    /// The most rows of one object: a row group of Parquet, which readers take in one piece.
    pub max_rows: usize,
    /// How much may be gathered for one object, as it came in. Readers like objects of tens of MiB; of each queue four times as much is
    /// held in all, and as much again is under way to the stores.
    pub max_bytes: ByteSize,
    /// How long the first row of an object waits for others. Shorter makes many small objects, which readers are slow on; longer
    /// makes rows late and, after a crash, more to be done again.
    pub max_delay: Span,
    /// How many request ids are held of partitions that are not written at the moment, about 30 bytes each.
    pub known_rows: usize,
}

impl Default for Objects {
    fn default() -> Self {
        Self {
            max_rows: 50_000,
            max_bytes: ByteSize::mebibytes(32),
            max_delay: Span::seconds(30),
            known_rows: 4_000_000,
        }
    }
}

/// The copy of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerConfig {
    /// The database, in the data folder.
    pub file: String,
    /// How often the whole log is read and compared. Every fact is read: a million take about ten seconds.
    pub verify_every: Span,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self { file: "ledger.db".to_owned(), verify_every: Span::seconds(300) }
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "sink-writer";
    const ABOUT: &'static str = "Writes every result into every sink once, and keeps the ledger of the log.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if !(1..=5_000).contains(&self.batch.max) {
            refusals.push(Refusal::new("batch.max", self.batch.max, "1 to 5000"));
        }
        if self.batch.max_delay > Span::seconds(5) {
            refusals.push(Refusal::new("batch.max_delay", self.batch.max_delay, "at most 5s"));
        }
        let objects = &self.objects;
        if !(1..=1_000_000).contains(&objects.max_rows) {
            refusals.push(Refusal::new("objects.max_rows", objects.max_rows, "1 to 1000000"));
        }
        if !(ByteSize::mebibytes(1)..=ByteSize::mebibytes(256)).contains(&objects.max_bytes) {
            refusals.push(Refusal::new("objects.max_bytes", objects.max_bytes, "1Mi to 256Mi"));
        }
        if objects.max_delay > Span::seconds(600) {
            refusals.push(Refusal::new("objects.max_delay", objects.max_delay, "at most 10m"));
        }
        if objects.known_rows > 100_000_000 {
            refusals.push(Refusal::new("objects.known_rows", objects.known_rows, "at most 100000000"));
        }
        if self.ledger.verify_every < Span::seconds(1) {
            refusals.push(Refusal::new("ledger.verify_every", self.ledger.verify_every, "at least 1s"));
        }
        let files = [
            ("embedded.results_file", &self.embedded.results_file),
            ("embedded.probes_file", &self.embedded.probes_file),
            ("ledger.file", &self.ledger.file),
        ];
        for (path, file) in files {
            if file.is_empty() || file.contains('/') {
                refusals.push(Refusal::new(path, file, "a file name in the data folder"));
            }
        }
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named_all_at_once() {
        let mut config = Config::default();
        config.batch.max = 0;
        config.objects = Objects {
            max_rows: 0,
            max_bytes: ByteSize::mebibytes(257),
            max_delay: Span::seconds(601),
            known_rows: 100_000_001,
        };
        config.ledger.file = "a/b".to_owned();
        let paths: Vec<String> = config.check().into_iter().map(|refusal| refusal.path).collect();
        let objects = ["objects.max_rows", "objects.max_bytes", "objects.max_delay", "objects.known_rows"];
        assert_eq!(paths, [&["batch.max"][..], &objects, &["ledger.file"]].concat());
    }

    #[test]
    fn the_readme_lists_the_settings_as_they_are() {
        slipway_runtime::check_readme::<Config>(include_str!("../README.md")).unwrap();
    }
}
