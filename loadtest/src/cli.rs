//! The command line of `slipway-loadtest`.

use crate::{Limits, Report, Request, Same, Shape, Stop, Target, run};
use anyhow::Context;
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue, Method, uri::PathAndQuery};
use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

/// Loads an HTTP server and reports what a user would have felt.
///
/// Open loop by default: requests leave at a fixed rate whether or not earlier ones were answered, and latency counts from
/// when a request should have left.
#[derive(Debug, Parser)]
#[command(name = "slipway-loadtest", version)]
pub struct Arguments {
    /// Whom: http://host:port/path.
    pub url: String,
    /// Requests a second.
    #[arg(long, default_value_t = 50.0, conflicts_with = "callers")]
    pub rate: f64,
    /// A closed loop of so many callers instead of a rate: how much goes through at most?
    #[arg(long)]
    pub callers: Option<usize>,
    /// For how many seconds.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// The method; POST if there is a body, else GET.
    #[arg(long)]
    pub method: Option<Method>,
    /// A header, `name: value`; may be given again.
    #[arg(long = "header", short = 'H')]
    pub headers: Vec<String>,
    /// The body.
    #[arg(long, conflicts_with = "body_file")]
    pub body: Option<String>,
    /// A file with the body.
    #[arg(long)]
    pub body_file: Option<PathBuf>,
    /// How many seconds one request may take.
    #[arg(long, default_value_t = 10.0)]
    pub timeout: f64,
    /// The most requests under way; what would be more is not sent, and counted.
    #[arg(long, default_value_t = Limits::default().max_in_flight)]
    pub max_in_flight: usize,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How the report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person.
    Text,
    /// For a program, with the time series.
    Json,
}

/// Runs what the arguments say. Control-C stops at once and still reports.
///
/// # Errors
/// If an argument cannot be read or the run cannot start.
pub async fn main(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (target, request) = request(&arguments)?;
    let duration = seconds(arguments.seconds, "--seconds")?;
    let shape = match arguments.callers {
        Some(callers) => Shape::Closed { callers, duration },
        None => Shape::Open { rate: arguments.rate, duration },
    };
    let limits = Limits {
        timeout: seconds(arguments.timeout, "--timeout")?,
        max_in_flight: arguments.max_in_flight,
        ..Limits::default()
    };
    let stop = Stop::default();
    let now = stop.now.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            now.cancel();
        }
    });
    let report = run(&target, Arc::new(Same(request)), shape, limits, &stop).await?;
    write(&report, arguments.output)?;
    // 3 is no verdict on the server: the figures are not to be trusted.
    Ok(if report.late { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn write(report: &Report, output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Text => writeln!(out, "{report}")?,
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(report)?)?,
    }
    Ok(())
}

fn seconds(value: f64, name: &str) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(value).with_context(|| format!("{name} {value}: a number of seconds"))
}

fn request(arguments: &Arguments) -> anyhow::Result<(Target, Request)> {
    let uri: http::Uri = arguments.url.parse().with_context(|| format!("`{}` is no URL", arguments.url))?;
    let authority = uri.authority().with_context(|| format!("`{}` names no host", arguments.url))?;
    let scheme = uri.scheme_str().with_context(|| format!("`{}` does not begin with http://", arguments.url))?;
    let target = format!("{scheme}://{authority}").parse()?;
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let body = match (&arguments.body, &arguments.body_file) {
        (Some(text), _) => Some(Bytes::from(text.clone())),
        (None, Some(file)) => {
            Some(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?.into())
        }
        (None, None) => None,
    };
    let method = arguments.method.clone().unwrap_or(if body.is_some() { Method::POST } else { Method::GET });
    let mut headers = HeaderMap::new();
    if body.is_some() {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for header in &arguments.headers {
        let (name, value) = header.split_once(':').with_context(|| format!("--header `{header}`: name: value"))?;
        let name: HeaderName = name.trim().parse().with_context(|| format!("`{name}` is no header name"))?;
        let value: HeaderValue = value.trim().parse().with_context(|| format!("`{header}` holds no header value"))?;
        headers.insert(name, value);
    }
    Ok((target, Request { method, path, headers, body: body.unwrap_or_default() }))
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
    fn a_url_becomes_a_target_and_a_request() {
        let line = ["x", "http://127.0.0.1:1/a?b=c", "--body", "{}", "-H", "x-a: 1"];
        let (target, request) = request(&Arguments::parse_from(line)).unwrap();
        assert_eq!(target.to_string(), "http://127.0.0.1:1");
        assert_eq!(request.path, "/a?b=c");
        assert_eq!(request.method, Method::POST);
        assert_eq!(request.headers["x-a"], "1");
        assert_eq!(request.headers["content-type"], "application/json");
    }

    #[test]
    fn what_is_no_url_or_header_is_refused() {
        for line in
            [["x", "nowhere", "--body", ""], ["x", "https://h", "--body", ""], ["x", "http://h", "-H", "novalue"]]
        {
            assert!(request(&Arguments::parse_from(line)).is_err(), "{line:?}");
        }
    }
}
