//! A real OTLP collector (rotel), and the spans it received, read from what it prints.

use crate::{Program, free_port, tools::tool};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;
use tokio::net::TcpStream;

const START: Duration = Duration::from_secs(30);

/// A collector on free ports of the loopback.
#[derive(Debug)]
pub struct Collector {
    program: Program,
    _folder: TempDir,
    port: u16,
}

/// One span as the collector received it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// `service.name` of its resource.
    pub service: String,
    /// The trace, 32 hexadecimal digits.
    pub trace: String,
    /// The span, 16 hexadecimal digits.
    pub id: String,
    /// Its parent; empty for a root.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `SERVER`, `CLIENT`, `PRODUCER`, `CONSUMER`, `INTERNAL`.
    pub kind: String,
    /// `OK`, `ERROR`, `UNSET`.
    pub status: String,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("slipway-collector-").tempdir().expect("a temporary folder");
        let (port, http) = (free_port(), free_port());
        let mut command = Command::new(tool("rotel"));
        command.args([
            "start",
            "--exporter",
            "blackhole",
            "--debug-log",
            "traces",
            "--debug-log-verbosity",
            "detailed",
        ]);
        command.args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{port}")]);
        command.args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")]);
        command.env("NO_COLOR", "1").current_dir(folder.path());
        let mut program = Program::start("rotel", command, &folder.path().join("rotel.log"));
        program.wait_ready(START, || async { TcpStream::connect(("127.0.0.1", port)).await.is_ok() }).await;
        Self { program, _folder: folder, port }
    }

    /// Where it takes OTLP over gRPC.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every span received so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        read(&self.program.said())
    }

    /// The spans of one trace.
    #[must_use]
    pub fn trace(&self, trace: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }
}

/// Spans of one trace whose parent is neither among them nor `outside` (the caller's own span): where the trace is broken.
#[must_use]
pub fn broken_links<'a>(trace: &'a [Span], outside: &str) -> Vec<&'a Span> {
    let known: BTreeSet<&str> = trace.iter().map(|span| span.id.as_str()).chain([outside]).collect();
    trace.iter().filter(|span| !known.contains(span.parent.as_str())).collect()
}

/// Reads the text of `--debug-log-verbosity detailed`.
fn read(text: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut service = String::new();
    let mut in_span = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("ResourceSpans #") {
            service.clear();
            in_span = false;
        } else if trimmed.starts_with("Span #") {
            spans.push(Span { service: service.clone(), ..Span::default() });
            in_span = true;
        } else if let Some(attribute) = trimmed.strip_prefix("-> ") {
            let Some((name, value)) = attribute.split_once(": ") else { continue };
            match spans.last_mut().filter(|_| in_span) {
                Some(span) => drop(span.attributes.insert(name.to_owned(), plain(value).to_owned())),
                None if name == "service.name" => plain(value).clone_into(&mut service),
                None => {}
            }
        } else if let (Some(span), Some((name, value))) =
            (spans.last_mut().filter(|_| in_span), trimmed.split_once(':'))
        {
            let value = value.trim();
            match name.trim_end() {
                "Trace ID" => value.clone_into(&mut span.trace),
                "Parent ID" => value.clone_into(&mut span.parent),
                "ID" => value.clone_into(&mut span.id),
                "Name" => value.clone_into(&mut span.name),
                "Kind" => value.trim_start_matches("SPAN_KIND_").clone_into(&mut span.kind),
                "Status code" => value.trim_start_matches("STATUS_CODE_").clone_into(&mut span.status),
                _ => {}
            }
        }
    }
    spans
}

/// `Str(x)` is x.
fn plain(value: &str) -> &str {
    let inner = value.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
2026-11-23T23:36:05.801352Z  INFO Starting Rotel.
ResourceSpans #0
Resource SchemaURL: 
Resource attributes:
     -> service.name: Str(ingress)
ScopeSpans #0
ScopeSpans SchemaURL: 
InstrumentationScope s 
Span #0
    Trace ID       : 0af7651916cd43dd8448eb211c80319c
    Parent ID      : 00f067aa0ba902b7
    ID             : b7ad6b7169203331
    Name           : request
    Kind           : SPAN_KIND_SERVER
Start time: 1700000000000000000
End time: 1700000000100000000
    Status code    : STATUS_CODE_ERROR
    Status message : bad
Attributes:
     -> a: Str(x y)
Span #1
    Trace ID       : 0af7651916cd43dd8448eb211c80319c
    Parent ID      : b7ad6b7169203331
    ID             : b7ad6b7169203332
    Name           : call
    Kind           : SPAN_KIND_CLIENT
ResourceSpans #0
Resource attributes:
     -> service.name: Str(sink-writer)
ScopeSpans #0
Span #0
    Trace ID       : 0af7651916cd43dd8448eb211c80319c
    Parent ID      : 0000000000000bad
    ID             : b7ad6b7169203333
    Name           : write
";

    #[test]
    fn spans_are_read_from_what_the_collector_prints() {
        let spans = read(PRINTED);
        assert_eq!(spans.len(), 3);
        let first = &spans[0];
        assert_eq!((first.service.as_str(), first.name.as_str()), ("ingress", "request"));
        assert_eq!((first.parent.as_str(), first.kind.as_str()), ("00f067aa0ba902b7", "SERVER"));
        assert_eq!((first.status.as_str(), first.attributes["a"].as_str()), ("ERROR", "x y"));
        assert_eq!((spans[2].service.as_str(), spans[2].parent.as_str()), ("sink-writer", "0000000000000bad"));
    }

    #[test]
    fn a_span_without_its_parent_is_a_broken_link() {
        let spans = read(PRINTED);
        let broken: Vec<&str> =
            broken_links(&spans, "00f067aa0ba902b7").iter().map(|span| span.name.as_str()).collect();
        assert_eq!(broken, ["write"]);
    }

    #[tokio::test]
    async fn it_takes_connections() {
        let collector = Collector::start().await;
        assert!(collector.spans().is_empty());
    }
}
