//! The ranges: what a well-typed document may still not say.

mod placement;
mod signature;

use super::{
    API_VERSION, BLOB, Cache, Compression, FilesOutput, Hedging, Input, KIND, MAX_BODY_BYTES, ModelDeployment,
    ObjectFormat, Output, Partitioning, Platform, S3Output, Spec, blob_digest, stored,
};
use crate::{
    image::{PINNED, is_pinned},
    model::ModelFormat,
    plan::Plan,
    refusal::Refusal,
    time::Span,
};
use serde::Serialize;
use std::{fmt::Display, ops::RangeInclusive};

/// Longest URI. Longer ones are never names of artifacts.
const MAX_URI: usize = 2_048;
/// Longest list in a document. A spec is written by hand.
const MAX_LIST: usize = 32;

struct Refusing(Vec<Refusal>);

impl Refusing {
    fn unless(&mut self, holds: bool, path: &str, value: impl Display, allowed: impl Into<String>) {
        if !holds {
            self.0.push(Refusal::new(path, value, allowed));
        }
    }

    fn within<T: PartialOrd + Display>(&mut self, path: &str, value: T, range: RangeInclusive<T>) {
        let allowed = format!("{} to {}", range.start(), range.end());
        self.unless(range.contains(&value), path, value, allowed);
    }

    fn uri(&mut self, path: &str, uri: &str, schemes: &[&str]) {
        let allowed = format!("an absolute URI of at most {MAX_URI} characters: {}", schemes.join(", "));
        let scheme = schemes.iter().any(|scheme| uri.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        let lower = uri.to_ascii_lowercase();
        let escapes = lower.contains("..") || lower.contains("%2e") || lower.contains("%2f") || lower.contains("%00");
        let clean = uri.chars().all(|c| !c.is_control() && c != '\\' && c != ' ');
        let credentials =
            uri.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().unwrap_or("").contains('@'));
        self.unless(scheme && uri.len() <= MAX_URI, path, uri, allowed);
        self.unless(
            !escapes && clean,
            path,
            uri,
            "a URI without `..`, encoded dots or slashes, backslashes, spaces and control characters",
        );
        self.unless(!credentials, path, "(not shown)", "a URI without user or password");
    }

    /// What is fetched once: a model, golden rows.
    fn artifact(&mut self, path: &str, uri: &str) {
        self.uri(path, uri, &["file:///", "https://", "nats-object://", BLOB]);
        self.unless(!uri.starts_with(BLOB) || blob_digest(uri).is_some(), path, uri, stored::ALLOWED);
    }

    fn list<T>(&mut self, path: &str, list: &[T]) {
        self.unless(list.len() <= MAX_LIST, path, list.len(), format!("at most {MAX_LIST} entries"));
    }
}

/// Every value of the document that is out of range.
pub(super) fn check(deployment: &ModelDeployment) -> Vec<Refusal> {
    let mut refusing = Refusing(Vec::new());
    refusing.unless(deployment.api_version == API_VERSION, "apiVersion", &deployment.api_version, API_VERSION);
    refusing.unless(deployment.kind == KIND, "kind", &deployment.kind, KIND);
    let spec = &deployment.spec;
    refusing.artifact("spec.model.uri", &spec.model.uri);
    signature::check(&mut refusing, spec);
    infrastructure(&mut refusing, spec);
    placement::check(&mut refusing, spec);
    serving(&mut refusing, spec);
    access(&mut refusing, spec);
    outputs(&mut refusing, spec);
    proof(&mut refusing, spec);
    rollout(&mut refusing, spec);
    fixed(&mut refusing, spec);
    refusing.0
}

const REGIONS: [&str; 7] = ["eu", "us", "uk", "apac", "ca", "on-prem", "this-machine"];
const REGIMES: [&str; 6] = ["gdpr", "hipaa", "pci-dss", "iso-27001", "soc-2", "air-gapped"];

fn infrastructure(refusing: &mut Refusing, spec: &Spec) {
    for region in &spec.infrastructure.residency {
        refusing.unless(
            REGIONS.contains(&region.as_str()),
            "spec.infrastructure.residency",
            region,
            REGIONS.join(", "),
        );
    }
    for regime in &spec.infrastructure.compliance {
        refusing.unless(
            REGIMES.contains(&regime.as_str()),
            "spec.infrastructure.compliance",
            regime,
            REGIMES.join(", "),
        );
    }
    if let Some(budget) = spec.infrastructure.budget_per_hour {
        refusing.within("spec.infrastructure.budgetPerHour", budget, 0.0..=1_000_000.0);
    }
    if let Some(latency) = spec.infrastructure.latency_budget {
        refusing.unless(latency.0.as_micros() > 0, "spec.infrastructure.latencyBudget", latency, "more than 0");
    }
}

fn serving(refusing: &mut Refusing, spec: &Spec) {
    container(refusing, spec);
    refusing.within("spec.serving.batching.maxSize", spec.serving.batching.max_size, 1..=256);
    refusing.within(
        "spec.serving.batching.maxDelay",
        spec.serving.batching.max_delay,
        Span::default()..=Span::seconds(1),
    );
    if let Some(Cache { max_bytes }) = spec.serving.cache {
        let fits = (1 << 20..=1 << 30).contains(&max_bytes.0);
        refusing.unless(fits, "spec.serving.cache.maxBytes", max_bytes, "1Mi to 1Gi");
    }
    if let Some(Hedging { after }) = spec.serving.hedging {
        refusing.within("spec.serving.hedging.after", after, Span::millis(1)..=Span::seconds(60));
    }
    refusing.within("spec.resources.cpu", spec.resources.cpu.0, 50..=256_000);
    let memory = spec.resources.memory;
    refusing.unless(memory.0 >= 64 << 20 && memory.0 <= 4 << 40, "spec.resources.memory", memory, "64Mi to 4Ti");
    refusing.within("spec.scale.min", spec.scale.min, 1..=1_000);
    refusing.within("spec.scale.max", spec.scale.max, spec.scale.min.clamp(1, 1_000)..=1_000);
    refusing.within("spec.scale.target", spec.scale.target, 1..=100_000);
    refusing.unless(!spec.inputs.is_empty(), "spec.inputs", "[]", "at least one input");
    refusing.list("spec.inputs", &spec.inputs);
    for (n, input) in spec.inputs.iter().enumerate() {
        let earlier = spec.inputs.iter().take(n).any(|earlier| earlier.name() == input.name());
        refusing.unless(!earlier, &format!("spec.inputs[{n}]"), input.name(), "each kind of input once");
        let Input::Http(http) = input else { continue };
        let path = format!("spec.inputs[{n}].http");
        let body = http.max_body;
        let fits = body.0 >= 1 << 10 && body.0 <= MAX_BODY_BYTES as u64;
        refusing.unless(fits, &format!("{path}.maxBody"), body, "1Ki to 64Mi");
        refusing.within(&format!("{path}.timeout"), http.timeout, Span::millis(1)..=Span::seconds(300));
    }
}

/// A container is asked for, and said which; by its digest, for a name may be another one tomorrow.
fn container(refusing: &mut Refusing, spec: &Spec) {
    let path = "spec.serving.container";
    let platform = spec.serving.platform;
    match &spec.serving.container {
        Some(container) => {
            refusing.unless(
                platform == Platform::Container,
                path,
                &container.image,
                "none unless platform is container",
            );
            refusing.unless(is_pinned(&container.image), &format!("{path}.image"), &container.image, PINNED);
        }
        None => {
            let allowed = "an image, with platform: container";
            refusing.unless(platform != Platform::Container, path, "(absent)", allowed);
            let other = spec.model.format == Some(ModelFormat::Other);
            refusing.unless(!other, "spec.model.format", "other", "a known format, unless platform is container");
        }
    }
}

fn access(refusing: &mut Refusing, spec: &Spec) {
    let access = &spec.access;
    let somebody = access.anonymous || access.api_keys || access.jwt.is_some();
    refusing.unless(somebody, "spec.access", "nobody may come in", "anonymous: true, apiKeys: true or jwt");
    if let Some(jwt) = &access.jwt {
        refusing.uri("spec.access.jwt.jwks", &jwt.jwks, &["https://", "file:///"]);
        refusing.unless(
            (1..=512).contains(&jwt.issuer.len()),
            "spec.access.jwt.issuer",
            &jwt.issuer,
            "1 to 512 characters",
        );
        refusing.unless(
            (1..=512).contains(&jwt.audience.len()),
            "spec.access.jwt.audience",
            &jwt.audience,
            "1 to 512 characters",
        );
    }
    if let Some(rate) = access.rate_limit {
        refusing.unless(rate.count > 0, "spec.access.rateLimit", rate, "at least 1 per unit");
    }
    refusing.list("spec.access.allowFrom", &access.allow_from);
    refusing.unless(
        !spec.is_open_over_nats() || access.allow_from.is_empty(),
        "spec.access.allowFrom",
        access.allow_from.join(", "),
        "none beside the input nats: the broker does not tell the address of a sender",
    );
    for cidr in &access.allow_from {
        refusing.unless(is_cidr(cidr), "spec.access.allowFrom", cidr, "a network in CIDR form (10.0.0.0/8, ::1/128)");
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    crate::ids::decimal(prefix).is_some_and(|prefix| prefix <= most)
}

fn outputs(refusing: &mut Refusing, spec: &Spec) {
    refusing.unless(!spec.outputs.is_empty(), "spec.outputs", "[]", "at least one output");
    refusing.list("spec.outputs", &spec.outputs);
    for (n, output) in spec.outputs.iter().enumerate() {
        match output {
            Output::Sqlite(sqlite) => table(refusing, &format!("spec.outputs[{n}].sqlite.table"), &sqlite.table),
            Output::Postgres(postgres) => {
                table(refusing, &format!("spec.outputs[{n}].postgres.table"), &postgres.table);
            }
            Output::Files(files) => {
                let path = format!("spec.outputs[{n}].files");
                refusing.uri(&format!("{path}.uri"), &files.uri, &["file:///"]);
                match files.format.of_objects() {
                    Some(format) => compression(refusing, &path, format, files.compression),
                    None => one_a_file(refusing, &path, files),
                }
            }
            Output::S3(s3) => bucket(refusing, &format!("spec.outputs[{n}].s3"), s3),
        }
    }
}

/// What says something of objects says nothing of one document a file.
fn one_a_file(refusing: &mut Refusing, path: &str, files: &FilesOutput) {
    let allowed = "nothing with format: json, which is one plain document a file; format: ndjson or parquet";
    let compression = files.compression.map(word).unwrap_or_default();
    refusing.unless(files.compression.is_none(), &format!("{path}.compression"), compression, allowed);
    refusing.unless(
        files.partition == Partitioning::default(),
        &format!("{path}.partition"),
        word(files.partition),
        allowed,
    );
}

fn compression(refusing: &mut Refusing, path: &str, format: ObjectFormat, chosen: Option<Compression>) {
    let Some(chosen) = chosen else { return };
    let known = format.compressions();
    let allowed: Vec<String> = known.iter().map(word).collect();
    let allowed = format!("with format: {}: {}", word(format), allowed.join(", "));
    refusing.unless(known.contains(&chosen), &format!("{path}.compression"), word(chosen), allowed);
}

/// A choice as it is written in the document.
fn word(choice: impl Serialize) -> String {
    serde_json::to_value(choice).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Longest prefix: with the names below it a key stays within the 1024 bytes that S3 allows.
const MAX_PREFIX: usize = 512;

fn bucket(refusing: &mut Refusing, path: &str, s3: &S3Output) {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let name = s3.bucket.as_bytes();
    let valid = (3..=63).contains(&name.len())
        && name.iter().all(|b| lower(*b) || matches!(b, b'-' | b'.'))
        && [name.first(), name.last()].into_iter().flatten().all(|b| lower(*b))
        && !s3.bucket.contains("..");
    let allowed = "3 to 63 characters a-z, 0-9, - and single dots, with a letter or digit at each end";
    refusing.unless(valid, &format!("{path}.bucket"), &s3.bucket, allowed);
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'=');
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(inner);
    let valid = s3.prefix.is_empty() || (s3.prefix.len() <= MAX_PREFIX && s3.prefix.split('/').all(part));
    let allowed = format!(
        "at most {MAX_PREFIX} characters: names of a-z, A-Z, 0-9, -, _, . and = with single slashes between them, none of them . or .."
    );
    refusing.unless(valid, &format!("{path}.prefix"), &s3.prefix, allowed);
    if let Some(endpoint) = &s3.endpoint {
        let place = format!("{path}.endpoint");
        refusing.uri(&place, endpoint, &["https://", "http://"]);
        let rest = endpoint.split_once("://").map_or("", |(_, rest)| rest);
        let bare = !rest.trim_end_matches('/').contains(['/', '?', '#']);
        refusing.unless(bare, &place, endpoint, "a host with a port, without a path or query");
    }
    if let Some(region) = &s3.region {
        let valid = (1..=64).contains(&region.len()) && region.bytes().all(|b| lower(b) || b == b'-');
        refusing.unless(valid, &format!("{path}.region"), region, "1 to 64 characters a-z, 0-9 and -");
    }
    let both = s3.access_key.is_some() == s3.secret_key.is_some();
    let missing = if s3.access_key.is_none() { "accessKey" } else { "secretKey" };
    let allowed = "accessKey and secretKey, or neither for the credentials of the environment";
    refusing.unless(both, &format!("{path}.{missing}"), "(absent)", allowed);
    compression(refusing, path, s3.format, s3.compression);
}

fn table(refusing: &mut Refusing, path: &str, name: &str) {
    let mut bytes = name.bytes();
    let valid = name.len() <= 63
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    refusing.unless(valid, path, name, "1 to 63 characters a-z, 0-9 and _, beginning with a letter or _");
}

fn proof(refusing: &mut Refusing, spec: &Spec) {
    refusing.unless(
        (0.0..100.0).contains(&spec.slo.availability),
        "spec.slo.availability",
        spec.slo.availability,
        "0 to 100 percent, 100 excluded",
    );
    if let Some(latency) = spec.slo.latency_p99 {
        refusing.within("spec.slo.latencyP99", latency, Span(std::time::Duration::from_micros(1))..=Span::seconds(300));
    }
    for (path, rate) in
        [("spec.slo.throughput", spec.slo.throughput), ("spec.validation.load.rate", spec.validation.load.rate)]
    {
        if let Some(rate) = rate {
            refusing.unless(
                rate.per_second() > 0.0 && rate.per_second() <= 100_000.0,
                path,
                rate,
                "more than 0, at most 100000/s",
            );
        }
    }
    let validation = &spec.validation;
    if let Some(golden) = &validation.golden {
        refusing.artifact("spec.validation.golden", golden);
    }
    refusing.within("spec.validation.minAccuracy", validation.min_accuracy, 0.0..=1.0);
    refusing.within("spec.validation.tolerance", validation.tolerance, 0.0..=1e9);
    refusing.within("spec.validation.maxRevisions", validation.max_revisions, 1..=20);
    refusing.within("spec.validation.load.duration", validation.load.duration, Span::millis(200)..=Span::seconds(600));
    refusing.within("spec.validation.load.repeats", validation.load.repeats, 1..=10);
    refusing.list("spec.validation.faults", &validation.faults);
}

fn rollout(refusing: &mut Refusing, spec: &Spec) {
    let steps = &spec.rollout.steps;
    let rising = steps.windows(2).all(|pair| pair[0] < pair[1]);
    let valid =
        steps.len() <= MAX_LIST && rising && steps.first().is_some_and(|s| *s >= 1) && steps.last() == Some(&100);
    refusing.unless(valid, "spec.rollout.steps", format!("{steps:?}"), "rising percentages from 1, ending with 100");
    refusing.within("spec.rollout.hold", spec.rollout.hold, Span::default()..=Span::seconds(86_400));
    refusing.within("spec.rollout.watch", spec.rollout.watch, Span::default()..=Span::seconds(30 * 86_400));
}

fn fixed(refusing: &mut Refusing, spec: &Spec) {
    let known = Plan::SPEC_PATHS.map(|(_, path)| path);
    for path in &spec.fixed {
        refusing.unless(known.contains(&path.as_str()), "spec.fixed", path, known.join(", "));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::Layout, *};
    use serde_json::{Value, json};

    pub(in super::super) fn refused(part: &Value) -> Vec<String> {
        let mut document = json!({ "metadata": { "name": "d" }, "spec": { "model": { "uri": "file:///m.onnx" } } });
        for (key, value) in part.as_object().unwrap() {
            document["spec"][key] = value.clone();
        }
        match ModelDeployment::read(&document) {
            Ok(_) => Vec::new(),
            Err(refusals) => refusals.0.into_iter().map(|r| r.path).collect(),
        }
    }

    #[test]
    fn values_out_of_range_are_refused_by_path() {
        for (part, path) in [
            (json!({ "model": { "uri": "gopher://x" } }), "spec.model.uri"),
            (json!({ "model": { "uri": "file:///a/../etc/passwd" } }), "spec.model.uri"),
            (json!({ "model": { "uri": "file:///a/%2e%2e/b" } }), "spec.model.uri"),
            (json!({ "model": { "uri": "https://user:pw@host/x" } }), "spec.model.uri"),
            (json!({ "model": { "uri": "blob://abc" } }), "spec.model.uri"),
            (json!({ "serving": { "cache": { "maxBytes": "1023Ki" } } }), "spec.serving.cache.maxBytes"),
            (json!({ "serving": { "cache": { "maxBytes": "2Gi" } } }), "spec.serving.cache.maxBytes"),
            (json!({ "serving": { "hedging": { "after": "0s" } } }), "spec.serving.hedging.after"),
            (json!({ "serving": { "hedging": { "after": "2m" } } }), "spec.serving.hedging.after"),
            (json!({ "serving": { "batching": { "maxSize": 0 } } }), "spec.serving.batching.maxSize"),
            (json!({ "serving": { "batching": { "maxSize": 257 } } }), "spec.serving.batching.maxSize"),
            (json!({ "scale": { "min": 5, "max": 2 } }), "spec.scale.max"),
            (json!({ "rollout": { "steps": [5, 5, 100] } }), "spec.rollout.steps"),
            (json!({ "rollout": { "steps": [5, 25] } }), "spec.rollout.steps"),
            (json!({ "slo": { "availability": 100.0 } }), "spec.slo.availability"),
            (json!({ "access": { "apiKeys": false } }), "spec.access"),
            (json!({ "access": { "allowFrom": ["10.0.0.0"] } }), "spec.access.allowFrom"),
            (json!({ "outputs": [{ "sqlite": { "table": "a; drop" } }] }), "spec.outputs[0].sqlite.table"),
            (json!({ "outputs": [{ "s3": { "bucket": "A_b" } }] }), "spec.outputs[0].s3.bucket"),
            (json!({ "outputs": [{ "s3": { "bucket": "a..b" } }] }), "spec.outputs[0].s3.bucket"),
            (json!({ "outputs": [{ "s3": { "bucket": "abc", "prefix": "/a" } }] }), "spec.outputs[0].s3.prefix"),
            (json!({ "outputs": [{ "s3": { "bucket": "abc", "prefix": "a/../b" } }] }), "spec.outputs[0].s3.prefix"),
            (
                json!({ "outputs": [{ "s3": { "bucket": "abc", "endpoint": "ftp://h" } }] }),
                "spec.outputs[0].s3.endpoint",
            ),
            (
                json!({ "outputs": [{ "s3": { "bucket": "abc", "endpoint": "http://h/x" } }] }),
                "spec.outputs[0].s3.endpoint",
            ),
            (json!({ "outputs": [{ "s3": { "bucket": "abc", "region": "EU" } }] }), "spec.outputs[0].s3.region"),
            (
                json!({ "outputs": [{ "s3": { "bucket": "abc", "accessKey": "env:K" } }] }),
                "spec.outputs[0].s3.secretKey",
            ),
            (
                json!({ "outputs": [{ "s3": { "bucket": "abc", "secretKey": "env:K" } }] }),
                "spec.outputs[0].s3.accessKey",
            ),
            (
                json!({ "outputs": [{ "s3": { "bucket": "abc", "compression": "gzip" } }] }),
                "spec.outputs[0].s3.compression",
            ),
            (
                json!({ "outputs": [{ "files": { "uri": "file:///f", "format": "ndjson", "compression": "snappy" } }] }),
                "spec.outputs[0].files.compression",
            ),
            (
                json!({ "outputs": [{ "files": { "uri": "file:///f", "compression": "none" } }] }),
                "spec.outputs[0].files.compression",
            ),
            (
                json!({ "outputs": [{ "files": { "uri": "file:///f", "partition": "hour" } }] }),
                "spec.outputs[0].files.partition",
            ),
            (json!({ "validation": { "minAccuracy": 1.5 } }), "spec.validation.minAccuracy"),
            (json!({ "fixed": ["spec.replicas"] }), "spec.fixed"),
        ] {
            assert_eq!(refused(&part), [path], "{part}");
        }
    }

    #[test]
    fn an_output_says_how_its_objects_are_laid_out_and_a_secret_in_it_is_not_repeated() {
        let layout = |output: Value| {
            let document = json!({
                "metadata": { "name": "d" },
                "spec": { "model": { "uri": "file:///m.onnx" }, "outputs": [output] }
            });
            ModelDeployment::read(&document).map(|read| read.spec.outputs[0].layout())
        };
        let of = |format, compression, partition| Ok(Some(Layout { format, compression, partition }));
        let (day, hour) = (Partitioning::Day, Partitioning::Hour);
        assert_eq!(layout(json!({ "files": { "uri": "file:///f" } })), Ok(None));
        let ndjson = json!({ "files": { "uri": "file:///f", "format": "ndjson", "partition": "hour" } });
        assert_eq!(layout(ndjson), of(ObjectFormat::Ndjson, Compression::None, hour));
        assert_eq!(layout(json!({ "s3": { "bucket": "abc" } })), of(ObjectFormat::Parquet, Compression::Snappy, day));
        let refused = layout(json!({ "s3": { "bucket": "abc", "secretKey": "wJalrXUtnFEMI" } })).unwrap_err();
        assert!(!refused.to_string().contains("wJalr"), "{refused}");
        assert_eq!(refused.0[0].path, "spec.outputs[0].s3.secretKey");
    }

    #[test]
    fn every_value_out_of_range_is_reported_at_once() {
        let refusals = refused(&json!({ "scale": { "min": 0, "target": 0 }, "slo": { "availability": -1.0 } }));
        assert_eq!(refusals, ["spec.scale.min", "spec.scale.target", "spec.slo.availability"]);
    }
}
