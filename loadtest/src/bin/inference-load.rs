//! `inference-load`: loads one model server with the samples of a case and compares every answer.
//!
//! Started by `inference/bench`. Prints `START` and `END` around what is measured, so that its caller can read the CPU time of
//! server and generator at both edges, and then the report as one line of JSON.

use anyhow::Context;
use clap::{ArgGroup, Parser};
use http::{HeaderName, HeaderValue, Uri};
use slipway_loadtest::{
    Limits, Report, Shape, Stop,
    inference::{Case, Inference, Protocol, address},
    run,
};
use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

/// Loads one model server with the samples of a case and compares every answer.
#[derive(Debug, Parser)]
#[command(name = "inference-load", version)]
#[command(group(ArgGroup::new("what").required(true).args(["callers", "rate", "verify"])))]
struct Arguments {
    /// The case file.
    #[arg(long)]
    case: PathBuf,
    /// How requests are written.
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// The URL of the call; of gRPC only host and port count.
    #[arg(long)]
    url: Uri,
    /// A closed loop of so many callers.
    #[arg(long)]
    callers: Option<usize>,
    /// An open loop of so many requests a second.
    #[arg(long)]
    rate: Option<f64>,
    /// Send each sample once, one after the other, and end with 1 unless all answers are right.
    #[arg(long)]
    verify: bool,
    /// Do not compare answers: the server knows no model, or answers later.
    #[arg(long)]
    unchecked: bool,
    /// A header of every request, such as `prefer: respond-async`; as often as there are headers.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Seconds of the same load before the measured ones.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// For how many seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many seconds one request may take.
    #[arg(long, default_value_t = 30.0)]
    timeout: f64,
    /// The most requests under way in an open loop.
    #[arg(long, default_value_t = 64)]
    max_in_flight: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(load(arguments))
}

async fn load(arguments: Arguments) -> anyhow::Result<()> {
    let case = Case::read(&arguments.case).with_context(|| format!("{}", arguments.case.display()))?;
    let (target, path) = address(arguments.protocol, &arguments.url)?;
    let workload = Arc::new(
        Inference::new(case, arguments.protocol, &path, !arguments.unchecked)?.with_headers(&arguments.headers),
    );
    let limits =
        Limits { timeout: seconds(arguments.timeout)?, max_in_flight: arguments.max_in_flight, ..Limits::default() };
    if arguments.verify {
        let verified = workload.verify(&target, &limits).await?;
        return say(&format!(r#"{{"verified": {verified}}}"#));
    }
    let shape = |duration| match (arguments.callers, arguments.rate) {
        (_, Some(rate)) => Shape::Open { rate, duration },
        (callers, None) => Shape::Closed { callers: callers.unwrap_or(1), duration },
    };
    let once = async |duration| run(&target, workload.clone(), shape(duration), limits, &Stop::default()).await;
    let warm_up = seconds(arguments.warm_up)?;
    if !warm_up.is_zero() {
        once(warm_up).await?;
    }
    say("START")?;
    let report = once(seconds(arguments.seconds)?).await?;
    say("END")?;
    say(&line(&report, workload.request_bytes())?)
}

fn line(report: &Report, request_bytes: usize) -> anyhow::Result<String> {
    let mut report = serde_json::to_value(report)?;
    let fields = report.as_object_mut().context("a report is an object")?;
    // Second by second is for people who look at one run.
    fields.remove("seconds");
    fields.insert("requestBytes".to_owned(), request_bytes.into());
    Ok(report.to_string())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("there is no colon in it")?;
    let name = name.trim().parse().map_err(|error| format!("{name}: {error}"))?;
    let value = value.trim().parse().map_err(|error| format!("{value}: {error}"))?;
    Ok((name, value))
}

fn seconds(value: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(value).with_context(|| format!("{value} is no number of seconds"))
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let (name, value) = header("prefer: respond-async").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("prefer", "respond-async"));
        for text in ["prefer", ": x", "a b: c", "a: \u{7}"] {
            assert!(header(text).is_err(), "{text}");
        }
    }
}
