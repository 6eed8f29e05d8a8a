//! The layered tree between text and types: every value knows where it came from.

use std::{collections::BTreeMap, sync::Arc};

/// One value of a layer, or of several merged.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it was written, for the refusal: a file, a variable, `--set`.
    pub(super) origin: Arc<str>,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Table(BTreeMap<String, Node>),
    /// Each element with its index in the source, so that a refusal names the right one after a neighbour was taken out.
    List(Vec<(usize, Node)>),
    /// Typed by TOML.
    Scalar(toml::Value),
    /// Untyped: what it means depends on the field.
    Text(String),
    /// A key that exists and is not set; only in trees made from defaults.
    Absent,
}

impl Node {
    pub(super) fn table(origin: &str) -> Self {
        Self { origin: origin.into(), kind: Kind::Table(BTreeMap::new()) }
    }

    pub(super) fn text(origin: &str, text: &str) -> Self {
        Self { origin: origin.into(), kind: Kind::Text(text.to_owned()) }
    }

    pub(super) fn from_toml(origin: &Arc<str>, value: toml::Value) -> Self {
        let kind = match value {
            toml::Value::Table(table) => {
                Kind::Table(table.into_iter().map(|(key, value)| (key, Self::from_toml(origin, value))).collect())
            }
            toml::Value::Array(items) => {
                Kind::List(items.into_iter().map(|item| Self::from_toml(origin, item)).enumerate().collect())
            }
            // Dates have no type of their own in any configuration; they are read by their text.
            toml::Value::Datetime(time) => Kind::Scalar(toml::Value::String(time.to_string())),
            scalar => Kind::Scalar(scalar),
        };
        Self { origin: Arc::clone(origin), kind }
    }

    /// The tree of a serialized configuration. Numbers that TOML cannot hold become text.
    pub(super) fn from_json(origin: &Arc<str>, value: serde_json::Value) -> Self {
        let kind = match value {
            serde_json::Value::Null => Kind::Absent,
            serde_json::Value::Bool(flag) => Kind::Scalar(toml::Value::Boolean(flag)),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Kind::Scalar(toml::Value::Integer(integer)),
                (None, Some(float)) if number.is_f64() => Kind::Scalar(toml::Value::Float(float)),
                _ => Kind::Text(number.to_string()),
            },
            serde_json::Value::String(text) => Kind::Scalar(toml::Value::String(text)),
            serde_json::Value::Array(items) => {
                Kind::List(items.into_iter().map(|item| Self::from_json(origin, item)).enumerate().collect())
            }
            serde_json::Value::Object(fields) => {
                Kind::Table(fields.into_iter().map(|(key, value)| (key, Self::from_json(origin, value))).collect())
            }
        };
        Self { origin: Arc::clone(origin), kind }
    }

    /// The tree as TOML, unset keys left out. `None` for a key that is not set.
    pub(super) fn into_toml(self) -> Option<toml::Value> {
        match self.kind {
            Kind::Table(fields) => Some(toml::Value::Table(
                fields.into_iter().filter_map(|(key, node)| Some((key, node.into_toml()?))).collect(),
            )),
            Kind::List(items) => {
                Some(toml::Value::Array(items.into_iter().filter_map(|(_, node)| node.into_toml()).collect()))
            }
            Kind::Scalar(value) => Some(value),
            Kind::Text(text) => Some(toml::Value::String(text)),
            Kind::Absent => None,
        }
    }

    /// Lays `over` upon this: tables merge, everything else is replaced whole.
    pub(super) fn lay(&mut self, over: Self) {
        match (&mut self.kind, over.kind) {
            (Kind::Table(below), Kind::Table(above)) => {
                for (key, node) in above {
                    match below.get_mut(&key) {
                        Some(existing) => existing.lay(node),
                        None => {
                            below.insert(key, node);
                        }
                    }
                }
            }
            (_, kind) => *self = Self { origin: over.origin, kind },
        }
    }

    /// Lays one leaf at a path.
    pub(super) fn lay_at(&mut self, path: &[&str], leaf: Self) {
        let mut nested = leaf;
        for segment in path.iter().rev() {
            let origin = Arc::clone(&nested.origin);
            nested = Self { origin, kind: Kind::Table(BTreeMap::from([((*segment).to_owned(), nested)])) };
        }
        self.lay(nested);
    }

    pub(super) fn get(&self, path: &[Segment]) -> Option<&Self> {
        path.iter().try_fold(self, |node, segment| match (&node.kind, segment) {
            (Kind::Table(fields), Segment::Key(key)) => fields.get(key),
            (Kind::List(items), Segment::Index(index)) => {
                items.iter().find(|(at, _)| at == index).map(|(_, node)| node)
            }
            _ => None,
        })
    }

    /// Puts `replacement` at `path`, or takes away what is there. Whether anything changed.
    pub(super) fn replace(&mut self, path: &[Segment], replacement: Option<Self>) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        match (&mut self.kind, first) {
            (Kind::Table(fields), Segment::Key(key)) if rest.is_empty() => match replacement {
                Some(node) => {
                    fields.insert(key.clone(), node);
                    true
                }
                None => fields.remove(key).is_some(),
            },
            (Kind::List(items), Segment::Index(index)) if rest.is_empty() => {
                let before = items.len();
                items.retain(|(at, _)| at != index);
                items.len() != before
            }
            (Kind::Table(fields), Segment::Key(key)) => {
                fields.get_mut(key).is_some_and(|node| node.replace(rest, replacement))
            }
            (Kind::List(items), Segment::Index(index)) => {
                items.iter_mut().find(|(at, _)| at == index).is_some_and(|(_, node)| node.replace(rest, replacement))
            }
            _ => false,
        }
    }

    /// The value as a person would write it, with where it came from.
    pub(super) fn describe(&self) -> String {
        let value = match &self.kind {
            Kind::Table(_) => "a table".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Scalar(value) => value.to_string(),
            Kind::Text(text) => format!("{text:?}"),
            Kind::Absent => "nothing".to_owned(),
        };
        self.with_origin(&value)
    }

    /// `value`, with where it came from.
    pub(super) fn with_origin(&self, value: &str) -> String {
        if self.origin.is_empty() { value.to_owned() } else { format!("{value} ({})", self.origin) }
    }
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

/// `outputs[1].url`
pub(super) fn path_text(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}
