//! What the worker is told. The controller writes one file per worker instance; there is no default that could serve.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use slipway_bus::BusConfig;
use slipway_kernel::{ByteSize, DeploymentId, Digest, Label, ModelFormat, Refusal, RevisionId, Span};
use slipway_runtime::{Common, ServiceConfig, lanes};

use crate::advertised::{self, Advertised};
use crate::engine::choice::Wanted;
use crate::engine::device::DeviceWanted;
use crate::engine::server::ServerConfig;

/// The whole configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every service has.
    pub common: Common,
    /// The connection to NATS.
    pub bus: BusConfig,
    /// The worker itself.
    pub worker: WorkerConfig,
}

/// The worker itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerConfig {
    /// Whose model it serves, `<namespace>.<deployment>`; the deployment's name is the model name of requests. Required.
    pub deployment: String,
    /// The revision, `<generation>-<revision>`. Required.
    pub revision: Option<RevisionId>,
    /// Name of this instance, unique in the mesh. Required; in a pod it is the pod's, which comes by the environment.
    pub instance: String,
    /// Who keeps the worker: whether it is to end when a list does not have it.
    pub kept_by: KeptBy,
    /// Host whose lease lists the wanted workers; required where the controller keeps them. Elsewhere the machine it runs on, for people.
    pub host: String,
    /// Token of the lease under which the worker was started; it goes into the registration.
    pub fencing_token: u64,
    /// How long the worker goes on when nobody holds the lease. 30 s: three times the lease, so that a controller that is
    /// replaced finds its workers again, while nobody's workers do not stay for long.
    pub stop_unwanted_after: Span,

    /// SHA-256 of the artifact; it is fetched from the blob store under this name, and no other bytes are ever loaded.
    /// Required.
    pub model_digest: Option<Digest>,
    /// Format of the artifact. `onnx` is what the worker's own engines read; a model server may take others.
    pub model_format: ModelFormat,
    /// Let NaN and the infinities in.
    pub allow_non_finite: bool,

    /// Which engine serves the model: `auto`, `onnxruntime` or `tract`. `auto` is ONNX Runtime where its library is and takes the
    /// model, else tract.
    pub engine: Wanted,
    /// Where the model is computed: `auto`, `cpu` or `cuda`. `auto` is a GPU where there is one that takes the model, else the CPU; with
    /// `cuda` the worker ends where there is none.
    pub device: DeviceWanted,
    /// ONNX Runtime's library; unset: `ORT_DYLIB_PATH`, else beside the program, else `.tools/onnxruntime`.
    pub onnxruntime_library: Option<PathBuf>,
    /// Threads inside a run of ONNX Runtime, 1 to 256, or `auto`: one and all cores are measured. One: as many runs beside each
    /// other as there are cores finish more than one run on all of them.
    pub intra_op_threads: IntraOpThreads,
    /// Requests with the answers that the engine must give before it serves: the path of a file, or the SHA-256 of a blob.
    pub golden: Option<GoldenSource>,

    /// Most rows in a run, 1 to 256. The measurement at start may find a smaller number useful; the smaller one counts.
    pub max_batch: usize,
    /// How long the first row of a batch waits for others at most, up to 1 s. It waits less where the measurement and the traffic say that
    /// it is not worth it.
    pub max_delay: Span,
    /// Wait the whole `max_delay` for every batch that is not full.
    pub fixed_delay: bool,
    /// In what time requests are to be answered, up to 1 h, as far as batching goes: batches are so small, and wait so little, that a
    /// request that has to wait for one run is still in time. Unset: no such limit.
    pub latency_target: Option<Span>,
    /// Hold to `max_batch` even where the measurement says that smaller batches do as well.
    pub fixed_batch: bool,

    /// OS threads that run the engine, 1 to 256, each with an instance of its own where the engine needs one. More than the
    /// worker has cores are not started.
    pub threads: usize,
    /// Keep each of these threads on a core of its own, where a run has one thread: on a machine that the worker shares with nobody, where
    /// caches or memory nodes are far from each other. Elsewhere it takes away the system's choice.
    pub pin_threads: bool,
    /// Most requests that wait for a run. 128 is sixteen full batches of the default size: what would wait longer is better
    /// served elsewhere.
    pub queue_limit: usize,
    /// Most bytes of inputs that wait for a run. 64 MiB is four of the largest messages.
    pub queue_bytes: ByteSize,
    /// Most rows in one request. A request holds a thread while it runs, and others wait for it.
    pub request_rows: usize,
    /// Most requests of the JetStream queue in hand at once. 64 is the default batch eight times over: enough to fill batches while half
    /// of it is taken anew, little to give back when the worker ends.
    pub queued_in_hand: usize,
    /// Most resident memory; beyond it the worker ends and says so. Unset: no limit of its own.
    pub memory: Option<ByteSize>,

    /// The model server that computes in the place of the worker's own engines.
    pub server: ServerConfig,

    /// Where gRPC listens; port 0 takes a free one, and the registration says which.
    pub listen: SocketAddr,
    /// Threads, each of which serves its share of the connections by itself, 1 to 256. Unset: as many as `threads`, because a
    /// short run is done on the thread that read its request; no more than there are cores, and at most 16.
    pub listen_threads: Option<usize>,
    /// Address under which others reach the worker, with or without a port; unset: the one it listens on. Required where that is every
    /// address.
    pub advertised: Option<Advertised>,
    /// Where the reason is left when the worker fails; unset: `run/<instance>.findings.json` in the data folder. On Kubernetes the
    /// termination message of the container, `/dev/termination-log`.
    pub findings_file: Option<PathBuf>,
}

/// Who keeps a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptBy {
    /// The controller of its host, by the list in its lease: who is not on it, or answered for by nobody, ends by itself.
    #[default]
    Controller,
    /// A platform such as Kubernetes: it starts workers, ends them by SIGTERM and replaces them. The worker ends for nobody else.
    Platform,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            deployment: String::new(),
            revision: None,
            instance: String::new(),
            kept_by: KeptBy::default(),
            host: String::new(),
            fencing_token: 0,
            stop_unwanted_after: Span::seconds(30),
            model_digest: None,
            model_format: ModelFormat::Onnx,
            allow_non_finite: false,
            engine: Wanted::Auto,
            device: DeviceWanted::Auto,
            onnxruntime_library: None,
            intra_op_threads: IntraOpThreads::default(),
            golden: None,
            max_batch: 8,
            max_delay: Span::millis(2),
            fixed_delay: false,
            latency_target: None,
            fixed_batch: false,
            threads: 1,
            pin_threads: false,
            queue_limit: 128,
            queue_bytes: ByteSize::mebibytes(64),
            request_rows: 1024,
            queued_in_hand: 64,
            memory: None,
            server: ServerConfig::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            listen_threads: None,
            advertised: None,
            findings_file: None,
        }
    }
}

/// How many threads a run gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntraOpThreads {
    /// What the measurement finds best.
    Auto,
    /// So many.
    Count(usize),
}

impl Default for IntraOpThreads {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl Serialize for IntraOpThreads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Count(count) => serializer.serialize_u64(*count as u64),
        }
    }
}

impl<'de> Deserialize<'de> for IntraOpThreads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrAuto)
    }
}

struct NumberOrAuto;

impl Visitor<'_> for NumberOrAuto {
    type Value = IntraOpThreads;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number of threads or `auto`")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<IntraOpThreads, E> {
        usize::try_from(value).map(IntraOpThreads::Count).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<IntraOpThreads, E> {
        usize::try_from(value).map(IntraOpThreads::Count).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<IntraOpThreads, E> {
        match value {
            "auto" => Ok(IntraOpThreads::Auto),
            number => number
                .parse()
                .map(IntraOpThreads::Count)
                .map_err(|_| E::custom(format!("`{number}` is neither a number of threads nor `auto`"))),
        }
    }
}

/// Where golden vectors are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum GoldenSource {
    /// In the blob store.
    Blob(Digest),
    /// In a file.
    File(PathBuf),
}

/// Most rows of a batch, and most threads, that any model on any machine we know has use for.
const MOST: usize = 256;
/// Most rows of a run.
pub const MAX_BATCH: usize = MOST;

impl ServiceConfig for Config {
    const SERVICE: &'static str = "inference-worker";
    const ABOUT: &'static str = "Serves one model of one revision, directly over gRPC and from the queue.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let worker = &self.worker;
        let mut refusals = Vec::new();
        let mut require = |path: &str, value: &str, good: bool, allowed: &str| {
            if !good {
                let value = if value.is_empty() { "nothing" } else { value };
                refusals.push(Refusal::new(path, value, allowed));
            }
        };
        let deployment = worker.deployment.parse::<DeploymentId>().is_ok();
        require("worker.deployment", &worker.deployment, deployment, "<namespace>.<deployment>, two DNS labels");
        require("worker.revision", "", worker.revision.is_some(), "<generation>-<revision>");
        let instance = worker.instance.parse::<Label>().is_ok();
        require("worker.instance", &worker.instance, instance, "a DNS label");
        // Where no list is looked for, its host need not be known.
        let hostless = worker.kept_by == KeptBy::Platform && worker.host.is_empty();
        require("worker.host", &worker.host, hostless || is_name(&worker.host), NAME);
        require("worker.model_digest", "", worker.model_digest.is_some(), "64 hexadecimal digits (sha256)");
        let taken = worker.server.kind.takes(worker.model_format);
        let allowed = "onnx; beside it saved-model, torchscript and tensorrt-plan where worker.server.kind is triton, saved-model alone where it is tensorflow-serving, and all where it is open-inference";
        require("worker.model_format", &worker.model_format.to_string(), taken, allowed);
        refusals.extend(worker.check_advertised());
        refusals.extend(worker.check_serving());
        refusals
    }
}

impl WorkerConfig {
    /// How many threads serve connections.
    #[must_use]
    pub fn lanes(&self) -> NonZeroUsize {
        let useful = || self.threads.min(lanes::one_per_core().get());
        NonZeroUsize::new(self.listen_threads.unwrap_or_else(useful)).unwrap_or(NonZeroUsize::MIN)
    }

    /// Others must be told of an address that they can go to.
    fn check_advertised(&self) -> Option<Refusal> {
        let (value, is_one) = match self.advertised {
            Some(advertised) => (advertised.to_string(), advertised.is_one()),
            None => ("nothing".to_owned(), !self.listen.ip().is_unspecified()),
        };
        let allowed = format!("{}; required where worker.listen is every address", advertised::ALLOWED);
        (!is_one).then(|| Refusal::new("worker.advertised", value, allowed))
    }

    /// Holds what batcher and engine are told to its bounds.
    #[must_use]
    pub fn check_serving(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if self.max_delay > Span::seconds(1) {
            refusals.push(Refusal::new("worker.max_delay", self.max_delay, "up to 1s"));
        }
        if let Some(target) = self.latency_target
            && (target == Span::default() || target > Span::seconds(3_600))
        {
            refusals.push(Refusal::new("worker.latency_target", target, "more than 0, up to 1h"));
        }
        if self.pin_threads && self.intra_op_threads != IntraOpThreads::Count(1) {
            let allowed = "false, or worker.intra_op_threads = 1: the threads inside a run are the engine's own";
            refusals.push(Refusal::new("worker.pin_threads", true, allowed));
        }
        let mut bounded = |path: &str, value: usize, most: usize| {
            if !(1..=most).contains(&value) {
                refusals.push(Refusal::new(path, value, format!("1 to {most}")));
            }
        };
        bounded("worker.max_batch", self.max_batch, MAX_BATCH);
        bounded("worker.threads", self.threads, MOST);
        bounded("worker.listen_threads", self.listen_threads.unwrap_or(1), MOST);
        if let IntraOpThreads::Count(count) = self.intra_op_threads {
            bounded("worker.intra_op_threads", count, MOST);
        }
        bounded("worker.queue_limit", self.queue_limit, 100_000);
        bounded("worker.request_rows", self.request_rows, 1_000_000);
        bounded("worker.queued_in_hand", self.queued_in_hand, 10_000);
        refusals.extend(self.server.check());
        refusals
    }
}

const NAME: &str = "1 to 200 characters a-z, 0-9, '-' and '.'";

/// A host's name becomes part of a key.
fn is_name(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && !text.starts_with('.')
        && !text.contains("..")
}

/// The assignment with everything that is required in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The revision.
    pub revision: RevisionId,
    /// The name of this instance.
    pub instance: String,
    /// The host; empty if it is not known.
    pub host: String,
    /// The artifact.
    pub digest: Digest,
}

impl WorkerConfig {
    /// The assignment; `None` when something required is missing, which [`ServiceConfig::check`] has refused before.
    #[must_use]
    pub fn assignment(&self) -> Option<Assignment> {
        Some(Assignment {
            deployment: self.deployment.parse().ok()?,
            revision: self.revision?,
            instance: self.instance.clone(),
            host: self.host.clone(),
            digest: self.model_digest.clone()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_runtime::Layers;

    /// The file that the controller writes.
    const FILE: &str = r#"
        [common]
        data_dir = "/var/lib/slipway"
        drain = "10s"
        [common.admin]
        listen = "127.0.0.1:0"
        [bus]
        url = "nats://127.0.0.1:4222"
        [worker]
        deployment = "default.digits"
        revision = "2-1"
        instance = "digits-2-1-0-1a2b3c4d"
        host = "here"
        fencing_token = 42
        listen = "127.0.0.1:0"
        model_digest = "d357cabd2316c35848fcdee7f38cdfb71416895f9ccd81f888da0347d9d064c4"
        model_format = "onnx"
        max_batch = 4
        max_delay = "5ms"
        threads = 2
        queue_limit = 128
        memory = "512Mi"
        stop_unwanted_after = "30s"
    "#;

    fn load(text: &str) -> Result<Config, String> {
        let layers = Layers::new().toml("worker.toml", text).map_err(|error| error.to_string())?;
        layers.load::<Config>().map_err(|refusals| refusals.to_string())
    }

    #[test]
    fn the_controllers_file_is_an_assignment() {
        let config = load(FILE).unwrap();
        let assignment = config.worker.assignment().unwrap();
        assert_eq!(assignment.deployment.to_string(), "default.digits");
        assert_eq!(assignment.revision, RevisionId::new(2, 1));
        assert_eq!(config.worker.memory, Some(ByteSize::mebibytes(512)));
        assert_eq!(config.worker.max_delay, Span::millis(5));
    }

    #[test]
    fn everything_that_is_missing_or_out_of_range_is_refused_at_once() {
        let refused =
            load("[worker]\nmax_batch = 0\nmax_delay = \"2s\"\nthreads = 999\nmodel_format = \"torchscript\"")
                .unwrap_err();
        for key in [
            "deployment",
            "revision",
            "instance",
            "host",
            "model_digest",
            "model_format",
            "max_batch",
            "max_delay",
            "threads",
        ] {
            assert!(refused.contains(&format!("worker.{key}")), "{key} in:\n{refused}");
        }
    }

    /// What all pods of a revision are told.
    const OF_PODS: &str = r#"
        [worker]
        deployment = "default.digits"
        revision = "2-1"
        kept_by = "platform"
        findings_file = "/dev/termination-log"
        listen = "0.0.0.0:8443"
        model_digest = "d357cabd2316c35848fcdee7f38cdfb71416895f9ccd81f888da0347d9d064c4"
    "#;

    /// What one of them is told by its environment.
    fn pod(variables: &[(&str, &str)]) -> Result<WorkerConfig, String> {
        let variables = variables
            .iter()
            .map(|(key, value)| (format!("SLIPWAY_INFERENCE_WORKER_WORKER__{key}"), (*value).to_owned()));
        let layers = Layers::new().toml("worker.toml", OF_PODS).unwrap().environment("inference-worker", variables);
        layers.load::<Config>().map(|config| config.worker).map_err(|refusals| refusals.to_string())
    }

    #[test]
    fn in_a_pod_the_environment_says_what_the_file_cannot() {
        let name = ("INSTANCE", "digits-2-1-6d4cf56db6-x2x4z");
        let worker = pod(&[name, ("ADVERTISED", "10.1.2.3"), ("FENCING_TOKEN", "7")]).unwrap();
        assert_eq!((worker.kept_by, worker.host.as_str(), worker.fencing_token), (KeptBy::Platform, "", 7));
        assert_eq!(worker.advertised.unwrap().of(worker.listen).to_string(), "10.1.2.3:8443");
        assert_eq!(worker.findings_file, Some(PathBuf::from("/dev/termination-log")));
        assert_eq!(pod(&[name, ("ADVERTISED", "fd00::7"), ("HOST", "node-1.example")]).unwrap().host, "node-1.example");
    }

    #[test]
    fn a_worker_that_listens_everywhere_must_say_where_it_is_found() {
        let name = ("INSTANCE", "w-0");
        for (more, value) in [(None, "nothing"), (Some("0.0.0.0"), "0.0.0.0"), (Some("digits.svc:8443"), "digits.svc")]
        {
            let variables: Vec<_> = [name].into_iter().chain(more.map(|address| ("ADVERTISED", address))).collect();
            let refused = pod(&variables).unwrap_err();
            assert!(refused.contains("worker.advertised") && refused.contains(value), "{refused}");
            assert!(refused.contains("an IP address"), "{refused}");
        }
        assert!(pod(&[name, ("ADVERTISED", "10.1.2.3"), ("HOST", "No Host")]).unwrap_err().contains("worker.host"));
    }

    #[test]
    fn unknown_keys_and_malformed_values_are_refused_by_their_path() {
        for (found, put, path) in [
            ("threads = 2", "thread = 2", "worker.thread"),
            ("2-1\"\n", "v2\"\n", "worker.revision"),
            ("digits-2-1-0-1a2b3c4d", "../../etc", "worker.instance"),
            ("default.digits\"", "Digits\"", "worker.deployment"),
        ] {
            let refused = load(&FILE.replace(found, put)).unwrap_err();
            assert!(refused.contains(path), "{refused}");
        }
    }

    #[test]
    fn engine_threads_and_golden_vectors_are_read_in_every_spelling() {
        let with = |line: &str| load(&FILE.replace("threads = 2", line)).map(|config| config.worker);
        assert_eq!(with("threads = 2").unwrap().engine, Wanted::Auto);
        assert_eq!(with("engine = \"tract\"").unwrap().engine, Wanted::Tract);
        assert_eq!(with("intra_op_threads = \"auto\"").unwrap().intra_op_threads, IntraOpThreads::Auto);
        for four in ["intra_op_threads = 4", "intra_op_threads = \"4\""] {
            assert_eq!(with(four).unwrap().intra_op_threads, IntraOpThreads::Count(4));
        }
        let digest = Digest::of(b"vectors");
        assert_eq!(with(&format!("golden = \"{digest}\"")).unwrap().golden, Some(GoldenSource::Blob(digest)));
        assert_eq!(with("golden = \"/a/b\"").unwrap().golden, Some(GoldenSource::File("/a/b".into())));
        for (wrong, path) in [
            ("engine = \"gpu\"", "worker.engine"),
            ("pin_threads = true\nintra_op_threads = 2", "worker.pin_threads"),
            ("latency_target = \"2h\"", "worker.latency_target"),
            ("intra_op_threads = \"many\"", "worker.intra_op_threads"),
            ("listen_threads = 0", "worker.listen_threads"),
            ("intra_op_threads = 0", "worker.intra_op_threads"),
            ("intra_op_threads = -1", "worker.intra_op_threads"),
        ] {
            let refused = with(wrong).unwrap_err();
            assert!(refused.contains(path), "{wrong}: {refused}");
        }
    }

    #[test]
    fn a_model_server_is_near_has_a_name_and_bounded_patience_and_decides_which_formats_there_are() {
        let with = |server: &str| {
            load(&format!("{}\n[worker.server]\n{server}", FILE.replace("\"onnx\"", "\"tensorrt-plan\"")))
        };
        assert_eq!(with("kind = \"triton\"").unwrap().worker.server.address.to_string(), "127.0.0.1:8001");
        for (wrong, path) in [
            ("kind = \"none\"", "worker.model_format"),
            ("kind = \"kserve\"", "worker.server.kind"),
            ("kind = \"triton\"\naddress = \"10.0.0.1:8001\"", "worker.server.address"),
            ("kind = \"triton\"\naddress = \"127.0.0.1:0\"", "worker.server.address"),
            ("kind = \"triton\"\nmodel = \"../etc\"", "worker.server.model"),
            ("kind = \"triton\"\nmodel = \"a/b\"", "worker.server.model"),
            ("kind = \"open-inference\"\nrun_timeout = \"0s\"", "worker.server.run_timeout"),
            ("kind = \"open-inference\"\nstart_timeout = \"2h\"", "worker.server.start_timeout"),
        ] {
            let refused = with(wrong).unwrap_err();
            assert!(refused.contains(path), "{wrong}: {refused}");
        }
    }

    #[test]
    fn the_readme_lists_every_key_with_its_default() {
        let readme = include_str!("../README.md");
        assert_eq!(slipway_runtime::config::check_readme::<Config>(readme), Ok(()));
    }
}
