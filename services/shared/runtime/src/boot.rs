//! From `main` to a running service and back.

use crate::{
    config::{self, ConfigError, Layers, ServiceConfig},
    frame::Frame,
    process::{Process, ProcessConfig},
};
use anyhow::Context as _;
use clap::{Arg, ArgAction, Command, value_parser};
use std::{ffi::OsString, future::Future, io::Write as _, path::PathBuf, process::ExitCode, time::Duration};
use tracing::error;

/// Threads of the async runtime of a service that does not say otherwise.
const MAX_DEFAULT_THREADS: usize = 4;
/// Blocking calls that outlive the drain are left to the end of the process after this.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// The configuration was refused (`EX_CONFIG` of `sysexits.h`): starting again will not help.
const REFUSED: u8 = 78;
/// The service failed.
const FAILED: u8 = 1;

/// The whole life of a service's process: flags, configuration, telemetry, admin endpoints, the service, its drain.
///
/// `service` is the name the process goes by, which is `C::SERVICE`. The exit code is 0 when the service ended or was
/// drained in time, 1 when it failed, 2 for wrong flags, 78 when the configuration was refused.
pub fn boot<C, F, Fut>(service: &'static str, run: F) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(C, Frame) -> Fut,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    boot_from(service, std::env::args_os(), run)
}

/// As [`boot`], with the arguments given: for a program that holds several services. The first argument is the program's name.
pub fn boot_from<C, F, Fut>(service: &'static str, arguments: impl IntoIterator<Item = OsString>, run: F) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(C, Frame) -> Fut,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let command = command::<C>(service);
    let arguments = Arguments::of(&command.get_matches_from(arguments));
    let config = match arguments.load::<C>(|layers| layers.own_environment(C::SERVICE)) {
        Ok(config) => config,
        Err(error) => return fail(REFUSED, service, &error.into()),
    };
    if arguments.dump {
        let dumped = config::dump(&config).map_err(anyhow::Error::from);
        let written = dumped.and_then(|text| Ok(std::io::stdout().write_all(text.as_bytes())?));
        return written.map_or_else(|error| fail(FAILED, service, &error), |()| ExitCode::SUCCESS);
    }
    let threads = config
        .common()
        .worker_threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from).min(MAX_DEFAULT_THREADS));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name(service).enable_all().build();
    let runtime = match runtime.context("cannot start the async runtime") {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, service, &error),
    };
    let ended = runtime.block_on(live(service, config, run));
    runtime.shutdown_timeout(LAST_MOMENT);
    ended.map_or_else(|error| fail(FAILED, service, &error), |()| ExitCode::SUCCESS)
}

async fn live<C, F, Fut>(service: &'static str, config: C, run: F) -> anyhow::Result<()>
where
    C: ServiceConfig,
    F: FnOnce(C, Frame) -> Fut,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut process = Process::start(ProcessConfig { name: service, common: config.common().clone() }).await?;
    report_panics();
    let frame = process.frame(service);
    let shutdown = process.shutdown_token();
    let running = Box::pin(run(config, frame.clone()));
    frame.tasks.spawn("run", async move {
        let ended = running.await;
        // A service that ends takes its process with it, well or not.
        shutdown.cancel();
        ended
    });
    process.until_shutdown().await;
    process.drain().await
}

/// Panics go into the log like everything else, with their place, instead of as loose text beside it.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        error!(
            place,
            thread = thread.name().unwrap_or("unnamed"),
            "panic: {}",
            crate::tasks::panic_text(panic.payload())
        );
    }));
}

/// Prints the chain of causes, once: this is the boundary.
#[expect(clippy::print_stderr, reason = "the last words of a process whose log may never have begun")]
fn fail(code: u8, service: &str, error: &anyhow::Error) -> ExitCode {
    eprintln!("slipway-{service}: {error:#}");
    ExitCode::from(code)
}

/// The flags every service has.
struct Arguments {
    /// The later over the earlier.
    files: Vec<PathBuf>,
    set: Vec<String>,
    dump: bool,
}

impl Arguments {
    fn of(matches: &clap::ArgMatches) -> Self {
        Self {
            files: matches.get_many::<PathBuf>("config").into_iter().flatten().cloned().collect(),
            set: matches.get_many::<String>("set").into_iter().flatten().cloned().collect(),
            dump: matches.get_flag("dump-config"),
        }
    }

    fn load<C: ServiceConfig>(&self, environment: impl FnOnce(Layers) -> Layers) -> Result<C, ConfigError> {
        let mut layers = Layers::new();
        for file in &self.files {
            layers = layers.file(file)?;
        }
        layers = environment(layers);
        for assignment in &self.set {
            layers = layers.set(assignment)?;
        }
        layers.load().map_err(ConfigError::Refused)
    }
}

fn command<C: ServiceConfig>(service: &'static str) -> Command {
    let prefix = config::environment_prefix(C::SERVICE);
    let name = format!("slipway-{service}");
    Command::new(service)
        .bin_name(name.clone())
        .display_name(name)
        .version(crate::VERSION)
        .about(C::ABOUT)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .action(ArgAction::Append)
                .help("Read this TOML file; without one everything has its default. May be given many times, the later over the earlier"),
        )
        .arg(
            Arg::new("set")
                .long("set")
                .value_name("SECTION.KEY=VALUE")
                .action(ArgAction::Append)
                .help("Set one key, over file and environment; may be given many times"),
        )
        .arg(
            Arg::new("dump-config")
                .long("dump-config")
                .action(ArgAction::SetTrue)
                .help("Print the configuration that results, secrets as ***, and end"),
        )
        .after_help(format!(
            "Configuration is TOML files, over them the environment ({prefix}<SECTION>__<KEY>, two underscores between \
             levels, for example {prefix}COMMON__ADMIN__LISTEN=127.0.0.1:9090), over that --set. Unknown keys and \
             variables are refused, and all that is wrong is reported at once. A secret is written as itself, as \
             env:NAME or as file:PATH.\n\n\
             SIGTERM and SIGINT drain the process and end it; a second one ends it at once. Exit codes: 0 ended or \
             drained, 1 failed, 2 wrong flags, 78 configuration refused."
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Common;
    use serde::{Deserialize, Serialize};

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Sample {
        common: Common,
        greeting: String,
    }

    impl ServiceConfig for Sample {
        const SERVICE: &'static str = "sample";
        const ABOUT: &'static str = "Greets.";

        fn common(&self) -> &Common {
            &self.common
        }
    }

    fn load(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Sample, ConfigError> {
        let matches = command::<Sample>("sample").try_get_matches_from(arguments).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Arguments::of(&matches).load(|layers| layers.environment("sample", environment))
    }

    #[test]
    fn file_environment_and_flags_come_together() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sample.toml");
        std::fs::write(&file, "greeting = \"from the file\"\ncommon.worker_threads = 1").unwrap();
        let file = file.display().to_string();
        let environment = [("SLIPWAY_SAMPLE_COMMON__WORKER_THREADS", "2")];
        let config = load(&["sample", "--config", &file, "--set", "greeting=a=b"], &environment).unwrap();
        assert_eq!((config.greeting.as_str(), config.common.worker_threads), ("a=b", Some(2)));
    }

    #[test]
    fn a_later_file_is_laid_over_an_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let below = file("below.toml", "greeting = \"below\"\ncommon.worker_threads = 1");
        let above = file("above.toml", "greeting = \"above\"");
        let config = load(&["sample", "--config", &below, "--config", &above], &[]).unwrap();
        assert_eq!((config.greeting.as_str(), config.common.worker_threads), ("above", Some(1)));
    }

    #[test]
    fn what_is_refused_is_listed_line_by_line() {
        let error = load(&["sample", "--set", "greting=x"], &[("SLIPWAY_SAMPLE_COMMON__DRAIN", "soon")]);
        let text = error.err().unwrap().to_string();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("common.drain: \"soon\" (environment SLIPWAY_SAMPLE_COMMON__DRAIN)"), "{text}");
        assert!(text.contains("greting: a key that nothing reads (--set greting)"), "{text}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load(&["sample", "--config", "/no/such/file.toml"], &[]).err().unwrap();
        assert_eq!(
            format!("{:#}", anyhow::Error::from(error)),
            "cannot read configuration file /no/such/file.toml: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn the_help_names_the_environment_and_the_exit_codes() {
        let help = command::<Sample>("sample").render_help().to_string();
        for part in ["Greets.", "SLIPWAY_SAMPLE_<SECTION>__<KEY>", "--set", "--dump-config", "78"] {
            assert!(help.contains(part), "{part} in {help}");
        }
    }
}
