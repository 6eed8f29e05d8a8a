//! What the gate refuses beyond types, as a cluster can say it: each bound at the place it is about. The reader of the document has them all and
//! is the last to judge; those that stand here are told by `kubectl apply` already.

use serde_json::{Map, Value, json};

/// What a value may be.
enum Bound {
    /// A number, both ends included.
    Number(f64, f64),
    /// A number, the greater end excluded.
    Below(f64, f64),
    /// A length of time, both ends included.
    Span(&'static str, &'static str),
    /// A quantity, both ends included.
    Quantity(&'static str, &'static str),
    /// Elements of a list.
    Elements(u32, u32),
    /// Characters of a text.
    Characters(u32, u32),
    /// One of these.
    Words(&'static [&'static str]),
    /// What fits a regular expression, and that in words.
    Pattern(&'static str, &'static str),
    /// What a rule says, and that in words.
    Rule(&'static str, &'static str),
}
use Bound::{Below, Characters, Elements, Number, Pattern, Quantity, Rule, Span, Words};

/// The longest list in a document.
const MAX_LIST: u32 = 32;

const ARTIFACT: Bound = Rule(
    "['file:///', 'https://', 'nats-object://', 'blob://'].exists(scheme, self.startsWith(scheme) && self != scheme)",
    "an absolute URI: file:///, https://, nats-object://, blob://",
);
const BLOB: Bound = Rule(
    "!self.startsWith('blob://') || self.matches('^blob://[0-9a-f]{64}(/[^/?#]*)?$')",
    "blob:// and a sha256 of 64 lower-case hexadecimal digits, then / and a name or nothing",
);
const NO_CREDENTIALS: Bound = Rule("!self.matches('^[^:]*://[^/]*@')", "a URI without user or password");
const NO_ESCAPES: Bound = Rule(
    "!self.matches('[.][.]|%2[eE]|%2[fF]|%00|[[:cntrl:] ]') && !self.contains('\\\\')",
    "a URI without `..`, encoded dots or slashes, backslashes, spaces and control characters",
);
const TABLE: Bound =
    Pattern("^[a-z_][a-z0-9_]{0,62}$", "1 to 63 characters a-z, 0-9 and _, beginning with a letter or _");

/// Paths below `spec`; `[]` is each element of a list.
const BOUNDS: [(&str, Bound); 80] = [
    ("", NATS_BESIDE_NETWORKS),
    ("model.uri", ARTIFACT),
    ("model.uri", BLOB),
    ("model.uri", NO_CREDENTIALS),
    ("model.uri", NO_ESCAPES),
    ("model.sha256", Pattern("^[0-9a-f]{64}$", "64 lower-case hexadecimal digits (sha256)")),
    ("model", SIGNED),
    ("model.signature.inputs", Elements(1, MAX_LIST)),
    ("model.signature.inputs", NAMED_ONCE),
    ("model.signature.inputs[].name", Characters(1, 256)),
    ("model.signature.inputs[].datatype", Words(&DATATYPES)),
    ("model.signature.inputs[].shape", Elements(0, MAX_DIMENSIONS)),
    ("model.signature.inputs[].shape[]", SIZE),
    ("model.signature.outputs", Elements(1, MAX_LIST)),
    ("model.signature.outputs", NAMED_ONCE),
    ("model.signature.outputs[].name", Characters(1, 256)),
    ("model.signature.outputs[].datatype", Words(&DATATYPES)),
    ("model.signature.outputs[].shape", Elements(0, MAX_DIMENSIONS)),
    ("model.signature.outputs[].shape[]", SIZE),
    ("infrastructure.residency[]", Words(&["eu", "us", "uk", "apac", "ca", "on-prem", "this-machine"])),
    ("infrastructure.compliance[]", Words(&["gdpr", "hipaa", "pci-dss", "iso-27001", "soc-2", "air-gapped"])),
    ("infrastructure.budgetPerHour", Number(0.0, 1e6)),
    ("infrastructure.latencyBudget", Rule("duration(self) > duration('0s')", "more than 0")),
    ("serving", CONTAINED),
    (
        "serving.container.image",
        Pattern("^[^@[:space:]]+@sha256:[0-9a-f]{64}$", "<image>@sha256:<64 hexadecimal digits>"),
    ),
    ("serving.batching.maxSize", Number(1.0, 256.0)),
    ("serving.batching.maxDelay", Span("0s", "1s")),
    ("serving.cache.maxBytes", Quantity("1Mi", "1Gi")),
    ("serving.hedging.after", Span("1ms", "60s")),
    ("resources.cpu", Quantity("50m", "256")),
    ("resources.memory", Quantity("64Mi", "4Ti")),
    ("scale", LEAST_AND_MOST),
    ("scale.min", Number(1.0, 1_000.0)),
    ("scale.max", Number(1.0, 1_000.0)),
    ("scale.target", Number(1.0, 100_000.0)),
    ("inputs", Elements(1, MAX_LIST)),
    ("inputs", Rule("self.filter(one, has(one.http)).size() <= 1", "each kind of input once: http")),
    ("inputs", Rule("self.filter(one, has(one.nats)).size() <= 1", "each kind of input once: nats")),
    ("inputs[].http.maxBody", Quantity("1Ki", "64Mi")),
    ("inputs[].http.timeout", Span("1ms", "300s")),
    ("access", SOMEBODY),
    ("access.jwt.issuer", Characters(1, 512)),
    ("access.jwt.audience", Characters(1, 512)),
    ("access.jwt.jwks", Rule("self.startsWith('https://') || self.startsWith('file:///')", "https:// or file:///")),
    ("access.jwt.jwks", NO_CREDENTIALS),
    ("access.jwt.jwks", NO_ESCAPES),
    ("access.rateLimit", Rule("!self.matches('^0+/')", "at least 1 per unit")),
    ("access.allowFrom", Elements(0, MAX_LIST)),
    ("access.allowFrom[]", Rule("isCIDR(self)", "a network in CIDR form (10.0.0.0/8, ::1/128)")),
    ("outputs", Elements(1, MAX_LIST)),
    ("outputs[].sqlite.table", TABLE),
    ("outputs[].postgres.table", TABLE),
    ("outputs[].files", ONE_A_FILE),
    ("outputs[].files.uri", Rule("self.startsWith('file:///') && self != 'file:///'", "file:///absolute/path")),
    ("outputs[].files.uri", NO_ESCAPES),
    ("outputs[].files", FILES_COMPRESSION),
    ("outputs[].s3", OBJECTS_COMPRESSION),
    ("outputs[].s3", BOTH_KEYS),
    ("outputs[].s3.bucket", Pattern("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", BUCKET)),
    ("outputs[].s3.bucket", Rule("!self.contains('..')", BUCKET)),
    ("outputs[].s3.prefix", Characters(0, 512)),
    (
        "outputs[].s3.endpoint",
        Rule("self.matches('^https?://[^/?#@]+/?$')", "a host with a port, without path, query and user"),
    ),
    ("outputs[].s3.region", Pattern("^[a-z0-9-]{1,64}$", "1 to 64 characters a-z, 0-9 and -")),
    ("slo.latencyP99", Span("1us", "300s")),
    ("slo.availability", Below(0.0, 100.0)),
    ("slo.throughput", Rule("!self.matches('^0+/')", "more than 0, at most 100000/s")),
    ("validation.golden", ARTIFACT),
    ("validation.golden", BLOB),
    ("validation.golden", NO_CREDENTIALS),
    ("validation.golden", NO_ESCAPES),
    ("validation.minAccuracy", Number(0.0, 1.0)),
    ("validation.tolerance", Number(0.0, 1e9)),
    ("validation.maxRevisions", Number(1.0, 20.0)),
    ("validation.load.rate", Rule("!self.matches('^0+/')", "more than 0, at most 100000/s")),
    ("validation.load.duration", Span("200ms", "600s")),
    ("validation.load.repeats", Number(1.0, 10.0)),
    ("rollout.steps", Elements(1, MAX_LIST)),
    ("rollout.steps", RISING),
    ("rollout.hold", Span("0s", "24h")),
    ("rollout.watch", Span("0s", "720h")),
];

/// Dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 16;
/// Data types of the Open Inference Protocol.
const DATATYPES: [&str; 13] =
    ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"];
const SIZE: Bound = Rule("self == -1 || self > 0", "1 or more, or -1 where any may come");
const NAMED_ONCE: Bound = Rule("self.all(one, self.exists_one(same, same.name == one.name))", "each name once");
const SIGNED: Bound = Rule(
    "!has(self.format) || self.format != 'other' || has(self.signature)",
    "signature: inputs and outputs, for nothing is read of a file whose format is other",
);
const CONTAINED: Bound = Rule(
    "has(self.container) == (has(self.platform) && self.platform == 'container')",
    "container: an image, with platform: container and with no other",
);

const BUCKET: &str = "3 to 63 characters a-z, 0-9, - and single dots, with a letter or digit at each end";

const NATS_BESIDE_NETWORKS: Bound = Rule(
    "!has(self.inputs) || !self.inputs.exists(one, has(one.nats)) || !has(self.access) || !has(self.access.allowFrom) \
     || self.access.allowFrom.size() == 0",
    "access.allowFrom: none beside the input nats: the broker does not tell the address of a sender",
);
// What is not said is 1 and 4.
const LEAST_AND_MOST: Bound = Rule(
    "(has(self.min) ? self.min : 1) <= (has(self.max) ? self.max : 4)",
    "max must not be less than min; not said, it is 4",
);
const SOMEBODY: Bound = Rule(
    "(has(self.anonymous) && self.anonymous) || !has(self.apiKeys) || self.apiKeys || has(self.jwt)",
    "nobody may come in: anonymous: true, apiKeys: true or jwt",
);
const ONE_A_FILE: Bound = Rule(
    "has(self.format) && self.format != 'json' || !has(self.compression) && (!has(self.partition) || self.partition == 'day')",
    "no compression and no partition with format: json, which is one plain document a file; format: ndjson or parquet",
);
const FILES_COMPRESSION: Bound = Rule(
    "!has(self.compression) || !has(self.format) || self.compression == 'none' \
     || (self.format == 'ndjson' ? self.compression == 'gzip' : self.compression == 'snappy')",
    "compression: none, or gzip with format: ndjson, or snappy with format: parquet",
);
const OBJECTS_COMPRESSION: Bound = Rule(
    "!has(self.compression) || self.compression == 'none' \
     || (has(self.format) && self.format == 'ndjson' ? self.compression == 'gzip' : self.compression == 'snappy')",
    "compression: none, or gzip with format: ndjson, or snappy with format: parquet",
);
const BOTH_KEYS: Bound = Rule(
    "has(self.accessKey) == has(self.secretKey)",
    "accessKey and secretKey, or neither for the credentials of the environment",
);
const RISING: Bound = Rule(
    "self.size() > 0 && self[0] >= 1 && self[self.size() - 1] == 100 && self.isSorted() \
     && self.all(step, self.exists_one(same, same == step))",
    "rising percentages from 1, ending with 100",
);

/// Writes each bound into the schema of `spec`. Returns the paths that are not there.
pub(super) fn bind(spec: &mut Value) -> Vec<&'static str> {
    let mut missing = Vec::new();
    for (path, bound) in &BOUNDS {
        match find(spec, path) {
            Some(schema) => bound.write(schema),
            None => missing.push(*path),
        }
    }
    missing
}

fn find<'a>(spec: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    let mut at = spec;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        at = at.get_mut("properties")?.get_mut(part.trim_end_matches("[]"))?;
        if part.ends_with("[]") {
            at = at.get_mut("items")?;
        }
    }
    at.as_object_mut()
}

impl Bound {
    fn write(&self, schema: &mut Map<String, Value>) {
        let mut set = |key: &str, value: Value| drop(schema.insert(key.to_owned(), value));
        match self {
            Number(least, most) => {
                set("minimum", number(*least));
                set("maximum", number(*most));
            }
            Below(least, end) => {
                set("minimum", number(*least));
                set("maximum", number(*end));
                set("exclusiveMaximum", true.into());
            }
            Elements(least, most) => {
                set("minItems", (*least).into());
                set("maxItems", (*most).into());
            }
            Characters(least, most) => {
                set("minLength", (*least).into());
                set("maxLength", (*most).into());
            }
            Words(words) => set("enum", json!(words)),
            // A rule, for a pattern that is not met is told by the pattern alone.
            Pattern(pattern, message) => rule(schema, &format!("self.matches('{pattern}')"), message),
            Span(least, most) => rule(
                schema,
                &format!("duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"),
                &format!("{least} to {most}"),
            ),
            Quantity(least, most) => rule(
                schema,
                &format!(
                    "isQuantity(self) && quantity(self).compareTo(quantity('{least}')) >= 0 \
                     && quantity(self).compareTo(quantity('{most}')) <= 0"
                ),
                &format!("{least} to {most}"),
            ),
            Rule(said, message) => rule(schema, said, message),
        }
    }
}

/// Whole where it is whole: `1.0` is a number that a cluster stores and shows as such.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "every bound that is whole is far below 2^53")]
    if value.fract() == 0.0 { Value::from(value as i64) } else { Value::from(value) }
}

fn rule(schema: &mut Map<String, Value>, rule: &str, message: &str) {
    let rules = schema.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    if let Some(rules) = rules.as_array_mut() {
        rules.push(json!({ "rule": rule, "message": message }));
    }
}
