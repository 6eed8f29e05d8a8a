//! Writing a configuration: the effective one for `--dump-config`, and the list of keys.

use super::{
    ConfigError, ServiceConfig,
    layers::default_tree,
    tree::{Kind, Node, Segment, path_text},
};
use std::sync::Arc;

/// One key of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigKey {
    /// `section.key`
    pub path: String,
    /// Its default as TOML, `unset` for an optional key without one.
    pub default: String,
}

/// The configuration as TOML, secrets shown as `***`. Keys that are not set stand in a comment above.
///
/// # Errors
/// When a value has no form in TOML.
pub fn dump<C: ServiceConfig>(config: &C) -> Result<String, ConfigError> {
    let value = serde_json::to_value(config).map_err(|error| ConfigError::Dump(error.to_string()))?;
    let tree = Node::from_json(&Arc::from(""), value);
    let mut unset = Vec::new();
    walk(&tree, &mut Vec::new(), &mut |path, node| {
        if matches!(node.kind, Kind::Absent) {
            unset.push(path_text(path));
        }
    });
    let toml = toml::to_string_pretty(&tree.into_toml()).map_err(|error| ConfigError::Dump(error.to_string()))?;
    let unset = if unset.is_empty() { String::new() } else { format!("# not set: {}\n", unset.join(", ")) };
    Ok(format!("# {}: effective configuration; secrets are shown as ***\n{unset}\n{toml}", C::SERVICE))
}

/// Every key the service has beside `common.*`, in alphabetical order.
#[must_use]
pub fn keys<C: ServiceConfig>() -> Vec<ConfigKey> {
    let mut keys = Vec::new();
    walk(&default_tree::<C>(), &mut Vec::new(), &mut |path, node| {
        let path = path_text(path);
        if !path.starts_with("common.") {
            let default = node.clone().into_toml().map_or_else(|| "unset".to_owned(), |value| value.to_string());
            keys.push(ConfigKey { path, default });
        }
    });
    keys
}

/// Visits every leaf; a list is one, and so is a table without entries.
fn walk(node: &Node, path: &mut Vec<Segment>, visit: &mut impl FnMut(&[Segment], &Node)) {
    match &node.kind {
        Kind::Table(fields) if !fields.is_empty() => {
            for (key, field) in fields {
                path.push(Segment::Key(key.clone()));
                walk(field, path, visit);
                path.pop();
            }
        }
        _ => visit(path, node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        Layers, Secret,
        layers::tests::{Output, Sample},
    };

    #[test]
    fn what_is_dumped_can_be_loaded_again() {
        let mut config = Sample::default();
        config.limits.max_pending = 9;
        config.outputs.push(Output { url: "one".to_owned(), batch: 2 });
        let text = dump(&config).unwrap();
        assert_eq!(Layers::new().toml("dump", &text).unwrap().load::<Sample>().unwrap(), config);
        assert!(text.contains("# not set: common.admin.listen, "), "{text}");
    }

    #[test]
    fn a_dump_shows_no_secret() {
        let mut config = Sample::default();
        config.nats.password = Secret::new("hunter2");
        let text = dump(&config).unwrap();
        assert!(text.contains("password = \"***\"") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn the_keys_are_those_of_the_service_alone() {
        let keys = keys::<Sample>();
        let paths: Vec<&str> = keys.iter().map(|key| key.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "limits.max_pending",
                "limits.mode",
                "limits.ratio",
                "limits.strict",
                "nats.ca_file",
                "nats.connect_timeout",
                "nats.password",
                "nats.url",
                "outputs",
                "tags"
            ]
        );
        assert_eq!(keys[0].default, "256");
        assert_eq!(keys[4].default, "unset");
        assert_eq!(keys[5].default, "\"5s\"");
        assert_eq!(keys[9].default, "[]");
    }
}
