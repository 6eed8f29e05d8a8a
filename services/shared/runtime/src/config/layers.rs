//! The layers, and how they become a typed configuration with every refusal at once.

use super::{
    Common, ConfigError, ServiceConfig,
    read::{Reader, Unread},
    tree::{Kind, Node, Segment, path_text},
};
use serde::de::DeserializeOwned;
use slipway_kernel::{Refusal, Refusals};
use std::{collections::BTreeMap, ffi::OsString, path::Path, sync::Arc};

/// Deeper or larger mistakes than this are reported in several rounds: it only bounds the work on a hostile file.
const MAX_REFUSALS: usize = 256;

/// Larger than any configuration anyone has written by hand.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Layers of configuration, laid one upon the other in the order of the calls.
#[derive(Clone, Debug)]
pub struct Layers {
    root: Node,
}

impl Default for Layers {
    fn default() -> Self {
        Self::new()
    }
}

impl Layers {
    /// No layer yet: everything at its default.
    #[must_use]
    pub fn new() -> Self {
        Self { root: Node::table("") }
    }

    /// Lays a TOML file.
    ///
    /// # Errors
    /// When the file cannot be read, is larger than 1 MiB, or is no TOML.
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let fail = |source| ConfigError::File { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(fail)?.len();
        if length > MAX_FILE_BYTES {
            return Err(fail(std::io::Error::other(format!("{length} bytes, at most {MAX_FILE_BYTES} are read"))));
        }
        let text = std::fs::read_to_string(path).map_err(fail)?;
        self.toml(&path.display().to_string(), &text)
    }

    /// Lays a TOML text; `origin` is its name in refusals.
    ///
    /// # Errors
    /// When the text is no TOML.
    pub fn toml(self, origin: &str, text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            origin: origin.to_owned(),
            line: error
                .span()
                .map_or(1, |span| 1 + text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count()),
            message: error.message().to_owned(),
        })?;
        Ok(self.table(origin, table))
    }

    /// Lays a table that is parsed already, as `slipway up` has one for each service in one file.
    #[must_use]
    pub fn table(mut self, origin: &str, table: toml::Table) -> Self {
        self.root.lay(Node::from_toml(&Arc::from(origin), toml::Value::Table(table)));
        self
    }

    /// Lays those of `variables` that begin with the service's prefix: `SLIPWAY_SINK_WRITER_SECTION__KEY` is
    /// `section.key` of `sink-writer`. What Kubernetes puts into every pod for a Service of the same name
    /// (`SLIPWAY_INGRESS_SERVICE_HOST`, `SLIPWAY_INGRESS_PORT_80_TCP`) is not configuration and passed over.
    #[must_use]
    pub fn environment(mut self, service: &str, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let prefix = environment_prefix(service);
        let own: BTreeMap<String, String> = variables
            .into_iter()
            .filter(|(name, _)| name.strip_prefix(&prefix).is_some_and(|key| !key.is_empty() && !is_service_link(key)))
            .collect();
        for (name, value) in own {
            let path = name[prefix.len()..].to_ascii_lowercase();
            let segments: Vec<&str> = path.split("__").collect();
            self.root.lay_at(&segments, Node::text(&format!("environment {name}"), &value));
        }
        self
    }

    /// Lays those of this process's own variables that are the service's. A value that is no UTF-8 is read with the odd
    /// bytes replaced, so that it is refused where it matters instead of lost.
    #[must_use]
    pub fn own_environment(self, service: &str) -> Self {
        let utf8 = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        self.environment(service, std::env::vars_os().filter_map(utf8))
    }

    /// Lays one `section.key=value`.
    ///
    /// # Errors
    /// When there is no `=`, or the path before it is empty or has an empty part.
    pub fn set(mut self, assignment: &str) -> Result<Self, ConfigError> {
        let (path, value) = assignment.split_once('=').ok_or_else(|| ConfigError::Set {
            argument: assignment.chars().take_while(|c| !c.is_whitespace()).collect(),
        })?;
        let segments: Vec<&str> = path.trim().split('.').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return Err(ConfigError::Set { argument: path.to_owned() });
        }
        self.root.lay_at(&segments, Node::text(&format!("--set {}", path.trim()), value));
        Ok(self)
    }

    /// The typed configuration.
    ///
    /// # Errors
    /// Everything that is refused, of all layers: wrong types, unknown keys, and what [`ServiceConfig::check`] and
    /// [`Common::check`] say.
    pub fn load<C: ServiceConfig>(self) -> Result<C, Refusals> {
        let (config, mut refusals) = self.read::<C>();
        if let Some(config) = &config {
            let known = refusals.clone();
            let semantic = Common::check(config.common()).into_iter().chain(config.check());
            // A value that could not be read was replaced by its default, of which nothing is to be said.
            refusals.extend(semantic.filter(|one| known.iter().all(|other| !overlaps(&one.path, &other.path))));
        }
        match config {
            Some(config) if refusals.is_empty() => Ok(config),
            _ => Err(Refusals(refusals)),
        }
    }

    /// Reads until nothing more is refused: serde stops at the first bad value, so each is noted, replaced by its default,
    /// and the rest read again.
    fn read<C: DeserializeOwned + Default + serde::Serialize>(self) -> (Option<C>, Vec<Refusal>) {
        let defaults = default_tree::<C>();
        let mut root = self.root;
        let mut refusals: Vec<Refusal> = Vec::new();
        while refusals.len() < MAX_REFUSALS {
            let unread = Unread::default();
            let reader = Reader { node: root.clone(), path: Vec::new(), unread: &unread };
            match C::deserialize(reader) {
                Ok(config) => {
                    refusals.extend(
                        unread.into_inner().into_iter().map(|(path, found)| unknown_key(&defaults, &path, &found)),
                    );
                    refusals.sort_by(|a, b| a.path.cmp(&b.path));
                    return (Some(config), refusals);
                }
                Err(fault) => {
                    let path = fault.path.unwrap_or_default();
                    let found = fault.found.unwrap_or_else(|| root.describe());
                    let text = path_text(&path);
                    // A required value that was refused and taken out is missing in the next round; once is enough.
                    if refusals.iter().all(|refusal| refusal.path != text) {
                        refusals.push(Refusal::new(text, found, fault.allowed));
                    }
                    if !heal(&mut root, &defaults, &path) {
                        break;
                    }
                }
            }
        }
        (None, refusals)
    }
}

/// `SLIPWAY_PLATFORM_SELECTOR_`
pub(crate) fn environment_prefix(service: &str) -> String {
    format!("SLIPWAY_{}_", service.to_ascii_uppercase().replace('-', "_"))
}

/// Whether `key` is one of the variables by which Kubernetes announces a Service.
fn is_service_link(key: &str) -> bool {
    let port = |rest: &str| {
        let mut parts = rest.split('_');
        parts.next().is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
            && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
            && matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"))
            && parts.next().is_none()
    };
    matches!(key, "SERVICE_HOST" | "SERVICE_PORT" | "PORT")
        || key.strip_prefix("SERVICE_PORT_").is_some()
        || key.strip_prefix("PORT_").is_some_and(port)
}

/// Puts the default where a value was refused; without one, takes the value away, or what holds it when it is not there.
/// Each call makes the tree smaller or more default, so reading and healing end.
fn heal(root: &mut Node, defaults: &Node, path: &[Segment]) -> bool {
    let default = defaults.get(path).filter(|node| !matches!(node.kind, Kind::Absent)).cloned();
    // The same place twice: the default did not help either, so the value goes.
    let again = root.get(path).is_some_and(|node| node.origin.as_ref() == HEALED);
    if let (Some(default), false) = (default, again) {
        return root.replace(path, Some(default));
    }
    (1..=path.len()).rev().any(|length| root.replace(&path[..length], None))
}

const HEALED: &str = "default";

pub(super) fn default_tree<C: Default + serde::Serialize>() -> Node {
    let origin = Arc::from(HEALED);
    serde_json::to_value(C::default()).map_or_else(|_| Node::table(HEALED), |value| Node::from_json(&origin, value))
}

fn unknown_key(defaults: &Node, path: &[Segment], found: &str) -> Refusal {
    let siblings = path.split_last().and_then(|(_, parent)| defaults.get(parent)).map(|node| &node.kind);
    let allowed = match siblings {
        Some(Kind::Table(fields)) => format!("one of {}", fields.keys().cloned().collect::<Vec<_>>().join(", ")),
        _ => "no such key".to_owned(),
    };
    Refusal::new(path_text(path), found, allowed)
}

/// Whether one path lies in the other.
fn overlaps(one: &str, other: &str) -> bool {
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    inside(one, other) || inside(other, one)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Secret;
    use serde::{Deserialize, Serialize};
    use slipway_kernel::Span;
    use std::path::PathBuf;

    /// A configuration with one of everything.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub(in crate::config) struct Sample {
        pub(in crate::config) common: Common,
        pub(in crate::config) nats: Nats,
        pub(in crate::config) limits: Limits,
        pub(in crate::config) outputs: Vec<Output>,
        pub(in crate::config) tags: Vec<String>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub(in crate::config) struct Nats {
        pub(in crate::config) url: String,
        pub(in crate::config) password: Secret,
        pub(in crate::config) ca_file: Option<PathBuf>,
        pub(in crate::config) connect_timeout: Span,
    }

    impl Default for Nats {
        fn default() -> Self {
            Self {
                url: "nats://127.0.0.1:4222".to_owned(),
                password: Secret::default(),
                ca_file: None,
                connect_timeout: Span::seconds(5),
            }
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub(in crate::config) struct Limits {
        pub(in crate::config) max_pending: u32,
        pub(in crate::config) ratio: f64,
        pub(in crate::config) strict: bool,
        pub(in crate::config) mode: Mode,
    }

    impl Default for Limits {
        fn default() -> Self {
            Self { max_pending: 256, ratio: 0.5, strict: true, mode: Mode::Fast }
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub(in crate::config) enum Mode {
        Fast,
        Careful { retries: u8 },
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(in crate::config) struct Output {
        pub(in crate::config) url: String,
        #[serde(default)]
        pub(in crate::config) batch: u16,
    }

    impl ServiceConfig for Sample {
        const SERVICE: &'static str = "sample-service";

        fn common(&self) -> &Common {
            &self.common
        }

        fn check(&self) -> Vec<Refusal> {
            let mut refusals = Vec::new();
            if self.limits.max_pending == 0 {
                refusals.push(Refusal::new("limits.max_pending", 0, "1 or more"));
            }
            refusals
        }
    }

    fn toml(text: &str) -> Layers {
        Layers::new().toml("test.toml", text).unwrap()
    }

    fn environment(layers: Layers, variables: &[(&str, &str)]) -> Layers {
        layers.environment(
            "sample-service",
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    fn refused(layers: Layers) -> Vec<(String, String, String)> {
        let refusals = layers.load::<Sample>().unwrap_err();
        refusals.0.into_iter().map(|refusal| (refusal.path, refusal.value, refusal.allowed)).collect()
    }

    fn paths(layers: Layers) -> Vec<String> {
        refused(layers).into_iter().map(|(path, ..)| path).collect()
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(Layers::new().load::<Sample>().unwrap(), Sample::default());
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let file = toml("[limits]\nmax_pending = 1\nratio = 0.25\n[nats]\nurl = \"nats://file\"");
        let layers = environment(
            file,
            &[("SLIPWAY_SAMPLE_SERVICE_LIMITS__MAX_PENDING", "2"), ("SLIPWAY_SAMPLE_SERVICE_NATS__URL", "nats://env")],
        );
        let config: Sample = layers.set("limits.max_pending=3").unwrap().load().unwrap();
        assert_eq!(config.limits.max_pending, 3);
        assert_eq!(config.nats.url, "nats://env");
        assert!((config.limits.ratio - 0.25).abs() < f64::EPSILON);
        assert!(config.limits.strict, "what no layer names keeps its default");
    }

    #[test]
    fn text_is_read_as_its_field_wants_it() {
        let layers = environment(
            Layers::new(),
            &[
                ("SLIPWAY_SAMPLE_SERVICE_NATS__URL", "4222"),
                ("SLIPWAY_SAMPLE_SERVICE_NATS__CONNECT_TIMEOUT", "250ms"),
                ("SLIPWAY_SAMPLE_SERVICE_NATS__CA_FILE", "/etc/ca.pem"),
                ("SLIPWAY_SAMPLE_SERVICE_LIMITS__STRICT", "false"),
                ("SLIPWAY_SAMPLE_SERVICE_LIMITS__RATIO", "1"),
                ("SLIPWAY_SAMPLE_SERVICE_LIMITS__MODE", "{ careful = { retries = 3 } }"),
                ("SLIPWAY_SAMPLE_SERVICE_TAGS", "a, b,c"),
                ("SLIPWAY_SAMPLE_SERVICE_OUTPUTS", "[{ url = \"one\" }, { url = \"two\", batch = 7 }]"),
                ("SLIPWAY_SAMPLE_SERVICE_COMMON__ADMIN__LISTEN", "127.0.0.1:0"),
            ],
        );
        let config: Sample = layers.load().unwrap_or_else(|refusals| panic!("{refusals}"));
        assert_eq!(config.nats.url, "4222");
        assert_eq!(config.nats.connect_timeout, Span::millis(250));
        assert_eq!(config.nats.ca_file, Some(PathBuf::from("/etc/ca.pem")));
        assert!(!config.limits.strict);
        assert!((config.limits.ratio - 1.0).abs() < f64::EPSILON);
        assert_eq!(config.limits.mode, Mode::Careful { retries: 3 });
        assert_eq!(config.tags, ["a", "b", "c"]);
        assert_eq!(config.outputs[1], Output { url: "two".to_owned(), batch: 7 });
        assert_eq!(config.common.admin.listen, "127.0.0.1:0".parse().ok());
    }

    #[test]
    fn an_empty_text_unsets_an_optional_key() {
        let layers = environment(toml("[nats]\nca_file = \"x\""), &[("SLIPWAY_SAMPLE_SERVICE_NATS__CA_FILE", "")]);
        assert_eq!(layers.load::<Sample>().unwrap().nats.ca_file, None);
    }

    #[test]
    fn all_bad_values_of_all_layers_are_reported_together() {
        let file = toml(
            "typo = 1\n[limits]\nmax_pending = -1\nstrict = \"yes\"\nmode = \"slow\"\n\
             [nats]\nconnect_timeout = \"soon\"\nport = 4222\n\
             [[outputs]]\nurl = \"ok\"\n[[outputs]]\nbatch = 3\n[[outputs]]\nurl = 5\nbatch = 70000\n\
             [common]\ndrain = \"1ms\"\nadmin = { listen = \"localhost\" }",
        );
        let layers = environment(file, &[("SLIPWAY_SAMPLE_SERVICE_LIMITS__RATIO", "half")]);
        let refused = refused(layers);
        let by_path: BTreeMap<&str, (&str, &str)> =
            refused.iter().map(|(path, value, allowed)| (path.as_str(), (value.as_str(), allowed.as_str()))).collect();
        assert_eq!(by_path.len(), refused.len(), "each once: {refused:#?}");
        assert_eq!(
            by_path.keys().copied().collect::<Vec<_>>(),
            [
                "common.admin.listen",
                "common.drain",
                "limits.max_pending",
                "limits.mode",
                "limits.ratio",
                "limits.strict",
                "nats.connect_timeout",
                "nats.port",
                "outputs[1].url",
                "outputs[2].batch",
                "outputs[2].url",
                "typo",
            ]
        );
        assert_eq!(by_path["limits.mode"], ("\"slow\" (test.toml)", "one of fast, careful"));
        assert_eq!(
            by_path["limits.ratio"],
            ("\"half\" (environment SLIPWAY_SAMPLE_SERVICE_LIMITS__RATIO)", "a number")
        );
        assert_eq!(by_path["nats.port"].1, "one of ca_file, connect_timeout, password, url");
        assert_eq!(
            by_path["common.admin.listen"],
            ("\"localhost\" (test.toml)", "an address and a port, for example 127.0.0.1:9090")
        );
        assert_eq!(by_path["outputs[1].url"], ("nothing", "a value; it has no default"));
        assert!(by_path["nats.connect_timeout"].1.starts_with("a whole number and a unit"));
    }

    #[test]
    fn what_the_service_itself_refuses_is_reported_with_the_rest() {
        assert_eq!(paths(toml("[limits]\nmax_pending = 0\nstrict = 1")), ["limits.strict", "limits.max_pending"]);
    }

    #[test]
    fn an_unknown_variable_with_the_prefix_of_the_service_is_refused() {
        let layers = environment(
            Layers::new(),
            &[
                ("SLIPWAY_SAMPLE_SERVICE_NATS__URI", "x"),
                ("SLIPWAY_SAMPLE_SERVICE_NATS_URL", "x"),
                ("SLIPWAY_OTHER_NATS__URI", "x"),
                ("PATH", "/bin"),
            ],
        );
        assert_eq!(paths(layers), ["nats.uri", "nats_url"]);
    }

    #[test]
    fn what_kubernetes_announces_is_not_configuration() {
        let layers = environment(
            Layers::new(),
            &[
                ("SLIPWAY_SAMPLE_SERVICE_SERVICE_HOST", "10.0.0.1"),
                ("SLIPWAY_SAMPLE_SERVICE_SERVICE_PORT", "80"),
                ("SLIPWAY_SAMPLE_SERVICE_SERVICE_PORT_HTTP", "80"),
                ("SLIPWAY_SAMPLE_SERVICE_PORT", "tcp://10.0.0.1:80"),
                ("SLIPWAY_SAMPLE_SERVICE_PORT_80_TCP", "tcp://10.0.0.1:80"),
                ("SLIPWAY_SAMPLE_SERVICE_PORT_80_TCP_ADDR", "10.0.0.1"),
            ],
        );
        assert!(layers.load::<Sample>().is_ok());
    }

    #[test]
    fn an_unknown_flag_is_refused() {
        assert_eq!(paths(Layers::new().set("nats.uri=x").unwrap()), ["nats.uri"]);
        for argument in ["nats.url", "=x", "nats..url=x", ".url=x"] {
            assert!(Layers::new().set(argument).is_err(), "{argument}");
        }
    }

    #[test]
    fn a_section_given_as_a_value_is_refused() {
        let refused = refused(toml("limits = 3\ntags = { a = 1 }"));
        assert_eq!(refused.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(), ["limits", "tags"]);
    }

    #[test]
    fn a_refused_secret_is_not_quoted() {
        let layers = toml("[nats]\npassword = 31337");
        let refused = refused(layers.set("nats.passwort=hunter2").unwrap());
        assert_eq!(refused.len(), 2);
        assert!(
            refused.iter().all(|(_, value, _)| !value.contains("31337") && !value.contains("hunter2")),
            "{refused:?}"
        );
    }

    #[test]
    fn a_syntax_error_names_the_line_and_does_not_quote_it() {
        let error = Layers::new().toml("test.toml", "[nats]\npassword = hunter2\n").unwrap_err().to_string();
        assert!(error.starts_with("test.toml is not TOML: line 2:"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_at_any_place_makes_the_reader_fail_otherwise_than_by_refusal(
            key in "[a-z_.]{0,24}", value in "\\PC{0,40}",
        ) {
            if let Ok(layers) = Layers::new().set(&format!("{key}={value}")) {
                drop(layers.load::<Sample>());
            }
        }
    }
}
