//! The commands and their flags. Help texts are prose for people.

use clap::{Args, Parser, Subcommand, ValueEnum};
use slipway_inference_worker::{
    config::IntraOpThreads,
    engine::{choice::Wanted, device::DeviceWanted, server::ServerKind},
};
use slipway_kernel::{Label, RevisionId};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Carries a model from "here it is, and this is what it must do" to validated, released and watched in production,
/// and back to the last good revision when it fails.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the deployment failed (rolled back or abandoned) or a check found damage; \
2 bad flags or a bad document; 3 refused by the gate or by the model's door; 4 not reachable or not in time.";

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Folder of `slipway up`: keys, log, results. Commands find the running mesh through it.
    #[arg(long, global = true, env = "SLIPWAY_DATA", default_value = ".slipway", value_name = "DIR")]
    pub data: PathBuf,
    /// Tables for people, or one JSON document (or line per item) for programs.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Human)]
    pub output: Format,
    /// The namespace of the deployments named on the command line.
    #[arg(long, short, global = true, default_value = "default", value_name = "NAME")]
    pub namespace: Label,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences.
    Human,
    /// JSON.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole mesh on this machine, with a nats-server of its own, until it is told to stop.
    Up(Box<UpArgs>),
    /// Show on a mesh of its own what Slipway does: a model released, one healed, a wrong one taken back, under traffic.
    Demo(DemoArgs),
    /// Serve one model file by itself, with no mesh: Open Inference Protocol v2 over HTTP and gRPC.
    Serve(ServeArgs),
    /// Hand in a document and wait until the model is released, or until Slipway gave up and says why.
    Deploy(DeployArgs),
    /// Show what would be decided for a document. Changes nothing.
    Plan(PlanArgs),
    /// Write the objects that would be made in a cluster for a document, as a Helm chart or a kustomization.
    Render(RenderArgs),
    /// Check what is written down of machines of one's own, and write what Ansible makes a cluster of them with (`infra/bare-metal`).
    Site(SiteArgs),
    /// Show where deployments stand.
    Status(StatusArgs),
    /// Print facts as they are written.
    Watch(WatchArgs),
    /// Print the facts of a deployment, or verify the log against its ledger.
    Log(LogArgs),
    /// Tell why each choice was made.
    Explain(ExplainArgs),
    /// Tell why one revision differs from another.
    Diff(DiffArgs),
    /// Send a request to a model.
    Infer(InferArgs),
    /// Tell how many results are kept in the embedded database, and show the first ones.
    Results(ResultsArgs),
    /// Approve the chosen infrastructure of a deployment that waits for it.
    Approve(OrderArgs),
    /// Decline the chosen infrastructure of a deployment that waits for approval.
    Decline(OrderArgs),
    /// Hold the rollout where it is.
    Pause(OrderArgs),
    /// Let a held rollout go on.
    Resume(OrderArgs),
    /// Ask for the proof again.
    Revalidate(OrderArgs),
    /// Give the traffic back to the last good revision, or to the one named.
    Rollback(RollbackArgs),
    /// Take a deployment down, with all that was made for it.
    Retire(OrderArgs),
    /// Take a wrong fact out of the state. The fact stays in the log, with your reason beside it.
    Annul(AnnulArgs),
    /// Look at messages that could not be handled, and send them again.
    Dead(DeadArgs),
    /// Make the key of a program that asks the models of the namespace over NATS, and show how it connects.
    NatsClient(NatsClientArgs),
    /// Make an API key of a deployment, and keep it in the data folder: callers are let in by it.
    ApiKey(ApiKeyArgs),
    /// Find the mesh of a Kubernetes cluster and note in the data folder how it is reached, for all other commands.
    Connect(ConnectArgs),
    /// Wait until every process behind the given addresses says that it is ready.
    Ready(ReadyArgs),
    /// Run one service as a process of its own, as a cluster does. `slipway service NAME --help` tells its flags.
    #[command(disable_help_flag = true)]
    Service(ServiceArgs),
    /// Make keys, certificates and broker configuration of a cluster, as Secrets. A Job of the chart.
    #[command(disable_help_flag = true)]
    ClusterInit(TaskArgs),
    /// Make the streams, consumers and buckets of this version at a broker. A Job of the chart.
    #[command(disable_help_flag = true)]
    Topology(TaskArgs),
    /// Have a nats-server read its configuration again whenever a file changes. Runs beside it in its pod.
    #[command(disable_help_flag = true)]
    BrokerReload(TaskArgs),
    /// Run one inference worker. Started by the controller, not by people.
    #[command(hide = true)]
    InferenceWorker(TaskArgs),
}

/// Flags of `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Where the models answer (HTTP).
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub http: SocketAddr,
    /// Where health, metrics and status answer.
    #[arg(long, default_value = "127.0.0.1:9464", value_name = "ADDRESS")]
    pub admin: SocketAddr,
    /// Port of the nats-server that is started; another free one is taken if it is in use.
    #[arg(long, default_value_t = 4222, value_name = "PORT")]
    pub nats_port: u16,
    /// Use a nats-server that runs already, with the keys of the data folder, instead of starting one.
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Run only these services (comma-separated); the others run in other processes with the same data folder.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub services: Vec<slipway_kernel::Service>,
    /// Settings of services, TOML: a section per service (`[ingress]`, `[sink-writer]`…).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, over file and environment: `--set validator.bounds.attempts=2`.
    #[arg(long, value_name = "SERVICE.KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the effective settings of every service and stop. Secrets are not shown.
    #[arg(long)]
    pub dump_config: bool,
    /// Send traces to this OTLP collector (gRPC).
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp: Option<String>,
    /// What is logged: `info`, `debug`, `slipway_controller=debug,info`…
    #[arg(long, env = "SLIPWAY_LOG", default_value = "warn", value_name = "FILTER")]
    pub log: String,
}

/// A setting as its configuration key reads it.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The model file (ONNX).
    #[arg(value_name = "FILE")]
    pub model: PathBuf,
    /// The name that requests call it by; the file's name without its ending if not given.
    #[arg(long, value_name = "NAME")]
    pub name: Option<Label>,
    /// Where HTTP is spoken. gRPC is understood there too.
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDRESS")]
    pub http: SocketAddr,
    /// Where gRPC is spoken. HTTP is understood there too.
    #[arg(long, default_value = "127.0.0.1:8001", value_name = "ADDRESS")]
    pub grpc: SocketAddr,
    /// Where health, metrics and status answer.
    #[arg(long, default_value = "127.0.0.1:8002", value_name = "ADDRESS")]
    pub admin: SocketAddr,
    /// Most rows in a run, 1 to 256. Without it, what a measurement at the start finds useful, up to 32.
    #[arg(long, value_name = "ROWS")]
    pub max_batch: Option<usize>,
    /// How long the first row of a batch waits for others: `2ms`, `0s`.
    #[arg(long, default_value = "0s", value_name = "TIME")]
    pub max_delay: slipway_kernel::Span,
    /// Runs at once, each on a thread of its own.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    pub instances: usize,
    /// Threads inside a run, where the engine has use for them; `auto` tries.
    #[arg(long, default_value = "1", value_name = "COUNT", value_parser = word::<IntraOpThreads>)]
    pub threads: IntraOpThreads,
    /// What computes: `onnxruntime`, `tract`, or `auto`, which takes the first where its library is found.
    #[arg(long, default_value = "auto", value_name = "ENGINE", value_parser = word::<Wanted>)]
    pub engine: Wanted,
    /// Where it is computed: `cpu`, `cuda`, or `auto`, which is a GPU where there is one that takes the model.
    #[arg(long, default_value = "auto", value_name = "DEVICE", value_parser = word::<DeviceWanted>)]
    pub device: DeviceWanted,
    /// A model server that computes instead: `triton`, started with `--model-control-mode=explicit`, `tensorflow-serving`, or `open-inference`,
    /// which has the model already.
    #[arg(long, default_value = "none", value_name = "KIND", value_parser = word::<ServerKind>)]
    pub server: ServerKind,
    /// Where that server answers over gRPC, on this machine.
    #[arg(long, default_value = "127.0.0.1:8101", value_name = "ADDRESS")]
    pub server_address: SocketAddr,
    /// Name of the model there.
    #[arg(long, default_value = "model", value_name = "NAME")]
    pub server_model: String,
    /// The folder that Triton or TensorFlow Serving reads models from.
    #[arg(long, default_value = "/models", value_name = "DIR")]
    pub server_repository: PathBuf,
    /// How long it may take until that server answers and has the model.
    #[arg(long, default_value = "1m", value_name = "TIME")]
    pub server_start: slipway_kernel::Span,
    /// Requests with the answers that the model must give before it is served (NDJSON).
    #[arg(long, value_name = "FILE")]
    pub golden: Option<PathBuf>,
    /// Most bytes of a request.
    #[arg(long, default_value = "64Mi", value_name = "SIZE")]
    pub max_body: slipway_kernel::ByteSize,
    /// How long a request may take that does not say otherwise.
    #[arg(long, default_value = "30s", value_name = "TIME")]
    pub timeout: slipway_kernel::Span,
    /// What is logged: `info`, `debug`, `slipway_inference_worker=debug,info`…
    #[arg(long, env = "SLIPWAY_LOG", default_value = "warn", value_name = "FILTER")]
    pub log: String,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder with the example models and documents.
    #[arg(long, default_value = "infra/examples", value_name = "DIR")]
    pub examples: PathBuf,
    /// Keep the data folder, to look at it afterwards with `slipway --data DIR …`.
    #[arg(long)]
    pub keep: bool,
}

/// Flags of `results`.
#[derive(Debug, Args)]
pub struct ResultsArgs {
    /// The deployment.
    pub name: Label,
    /// Only results with this correlation id.
    #[arg(long, value_name = "ID")]
    pub correlation: Option<String>,
}

/// Flags of `deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The document, YAML or JSON. Relative paths in it are read from where it lies.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Return when the gate has accepted it.
    #[arg(long)]
    pub no_wait: bool,
    /// Leave addresses of files as they are: the mesh finds them where it runs. Else files are put into the store of a mesh that runs elsewhere.
    #[arg(long)]
    pub no_upload: bool,
    /// How long to wait.
    #[arg(long, value_parser = span, default_value = "15m", value_name = "DURATION")]
    pub timeout: Duration,
    /// Id of this demand. The same id again changes nothing and gives the same answer; a new one is made if absent.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
}

/// Flags of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The document, YAML or JSON.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Show the objects that would be made in a cluster, as YAML, instead of the decisions.
    #[arg(long)]
    pub manifests: bool,
    /// Of which installation.
    #[command(flatten)]
    pub installation: InstallationArgs,
}

/// Flags of `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// The document, YAML or JSON.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// What is written.
    #[arg(long, value_enum)]
    pub format: RenderFormat,
    /// The folder that it is written to: a new one, or one that was written by this command before, which is replaced.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Of which installation.
    #[command(flatten)]
    pub installation: InstallationArgs,
}

/// Flags of `site`.
#[derive(Debug, Args)]
pub struct SiteArgs {
    /// The site: its networks, zones and hosts. YAML or JSON; `infra/bare-metal/README.md` says what is in it.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// The folder that inventory and files are written to: a new one, or one that was written by this command before, which is replaced.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// What `render` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RenderFormat {
    /// A chart.
    Helm,
    /// A kustomization.
    Kustomize,
}

/// Whose settings objects of a cluster are made with: those of an installation in a cluster, or of files.
#[derive(Debug, Args)]
pub struct InstallationArgs {
    /// The installation.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Settings of the controller (TOML) instead of those of an installation: no cluster is asked. May be repeated, the later over the earlier.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kubeconfig", "context", "kube_namespace"])]
    pub controller: Vec<PathBuf>,
    /// With --controller: the cluster serves KEDA's ScaledObject.
    #[arg(long, requires = "controller")]
    pub keda: bool,
    /// With --controller: engines in the worker's image beside those of every worker (comma-separated), as `kubernetes.engines` of the
    /// provisioner.
    #[arg(long, requires = "controller", value_delimiter = ',', value_name = "NAMES")]
    pub engines: Vec<String>,
    /// The revision that the objects are of.
    #[arg(long, default_value = "1-1", value_name = "REVISION")]
    pub revision: RevisionId,
}

/// Where Slipway is installed.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// The kubeconfig; that of `KUBECONFIG` or of the home folder if absent.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; the current one if absent.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The namespace that Slipway is installed in; that of the context if absent.
    #[arg(long, value_name = "NAME")]
    pub kube_namespace: Option<String>,
    /// What the names of the installation's objects begin with: the release, if it is called like the chart.
    #[arg(long, default_value = "slipway", value_name = "NAME")]
    pub release: String,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The deployment; all of them if absent.
    pub name: Option<Label>,
}

/// Flags of `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The deployment; all of them if absent.
    pub name: Option<Label>,
    /// Begin with the facts that are there already.
    #[arg(long)]
    pub all: bool,
}

/// Flags of `log`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct LogArgs {
    /// The deployment.
    #[arg(required = true)]
    pub name: Option<Label>,
    /// Checks of the whole log.
    #[command(subcommand)]
    pub command: Option<LogCommand>,
}

/// Checks of the whole log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Read every fact, compare it with the ledger and name each that is lost or altered.
    Verify,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The deployment.
    pub name: Label,
    /// The generation; the newest if absent.
    #[arg(long, value_name = "N")]
    pub generation: Option<u32>,
    /// Tell too where it would run with these prices: a file like the provisioner's `prices.toml`, with regions, GPUs and quotas. The machine and
    /// the executors are those of the choice; regions, regimes and access are as `slipway plan` finds them here.
    #[arg(long, value_name = "FILE")]
    pub with: Option<PathBuf>,
}

/// Flags of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The deployment.
    pub name: Label,
    /// One revision (`2-1`).
    pub from: RevisionId,
    /// The other (`2-2`).
    pub to: RevisionId,
}

/// Flags of `infer`.
#[derive(Debug, Args)]
pub struct InferArgs {
    /// The deployment.
    pub name: Label,
    /// The request (Open Inference Protocol v2, JSON), inline, as `@file`, or `-` for standard input.
    #[arg(short, long, value_name = "JSON")]
    pub request: String,
    /// Hand it in, and poll for the result.
    #[arg(long = "async")]
    pub respond_async: bool,
    /// Address of the door, if not the one of the data folder.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// API key, if not the one of the data folder.
    #[arg(long, env = "SLIPWAY_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub api_key: Option<String>,
    /// How long to wait for the answer.
    #[arg(long, value_parser = span, default_value = "30s", value_name = "DURATION")]
    pub timeout: Duration,
}

/// Flags of commands that are facts.
#[derive(Debug, Args)]
pub struct OrderArgs {
    /// The deployment.
    pub name: Label,
    /// Why; it stands in the log for good.
    #[arg(long, short, default_value = "", value_name = "TEXT")]
    pub reason: String,
    /// The generation; the newest if absent.
    #[arg(long, value_name = "N")]
    pub generation: Option<u32>,
}

/// Flags of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The common ones.
    #[command(flatten)]
    pub order: OrderArgs,
    /// The revision that shall have the traffic; the last good one if absent.
    #[arg(long, value_name = "REVISION")]
    pub to: Option<RevisionId>,
}

/// Flags of `annul`.
#[derive(Debug, Args)]
pub struct AnnulArgs {
    /// The deployment.
    pub name: Label,
    /// The fact's key or subject.
    pub fact: String,
    /// Why; it stands in the log for good.
    #[arg(long, short, value_name = "TEXT")]
    pub reason: String,
}

/// Flags of `dead`.
#[derive(Debug, Args)]
pub struct DeadArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DeadCommand,
}

/// Flags of `nats-client`.
#[derive(Debug, Args)]
pub struct NatsClientArgs {
    /// The program. Called again for the same one, the command shows what is there.
    pub name: Label,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List them.
    List,
    /// Show one, with its reason and content.
    Show {
        /// Its number.
        id: u64,
    },
    /// Send one again to where it was meant for.
    Redrive {
        /// Its number.
        id: u64,
    },
}

/// Flags of `api-key`.
#[derive(Debug, Args)]
pub struct ApiKeyArgs {
    /// The deployment.
    pub name: Label,
}

/// Flags of `connect`.
#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// The installation.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The broker as it is reached from here: `tls://host:port`. Found by its Service if absent.
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// The door of the models as it is reached from here: `http://host:port`. Found by its Service if absent.
    #[arg(long, value_name = "URL")]
    pub ingress: Option<String>,
}

/// Flags of `ready`.
#[derive(Debug, Args)]
pub struct ReadyArgs {
    /// Admin endpoints: `http://host:port`. Every address that the host has is asked.
    #[arg(required = true, value_name = "URL")]
    pub addresses: Vec<String>,
    /// The door of the models, which must answer as well.
    #[arg(long, value_name = "URL")]
    pub ingress: Option<String>,
    /// How long to wait.
    #[arg(long, value_parser = span, default_value = "60s", value_name = "DURATION")]
    pub timeout: Duration,
}

/// Arguments of `service`.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// Which one.
    pub name: slipway_kernel::Service,
    /// Its flags: `--config FILE` (may be repeated), `--set SECTION.KEY=VALUE`, `--dump-config`, `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// Arguments of a process that reads its settings as services do.
#[derive(Debug, Args)]
pub struct TaskArgs {
    /// Its flags: `--config FILE` (may be repeated), `--set SECTION.KEY=VALUE`, `--dump-config`, `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

fn span(text: &str) -> Result<Duration, String> {
    text.parse::<slipway_kernel::Span>().map(|span| span.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_request_is_no_data_folder() {
        let cli = Cli::try_parse_from(["slipway", "--data", "/x", "infer", "digits", "-r", "{}"]).unwrap();
        assert_eq!(cli.global.data, PathBuf::from("/x"));
    }

    #[test]
    fn what_follows_the_name_of_a_service_is_the_services() {
        let line = ["slipway", "service", "sink-writer", "--config", "a.toml", "--config", "b.toml", "--help"];
        let Command::Service(service) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        assert_eq!(service.name, slipway_kernel::Service::SinkWriter);
        assert_eq!(service.args, &line[3..]);
        let Command::ClusterInit(task) = Cli::try_parse_from(["slipway", "cluster-init", "--help"]).unwrap().command
        else {
            panic!()
        };
        assert_eq!(task.args, ["--help"]);
        assert!(Cli::try_parse_from(["slipway", "service", "nobody"]).is_err());
    }

    #[test]
    fn log_takes_a_name_or_verify() {
        assert!(Cli::try_parse_from(["slipway", "log", "digits"]).is_ok());
        assert!(Cli::try_parse_from(["slipway", "log", "verify"]).is_ok());
        assert!(Cli::try_parse_from(["slipway", "log"]).is_err());
    }
}
