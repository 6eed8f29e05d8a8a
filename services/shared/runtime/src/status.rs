//! What a service tells about itself on `/status`: a JSON value under a key.

use serde::Serialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The board of one service. Cheap to clone. It is read by people and dashboards, so no secrets and no payloads.
#[derive(Clone, Debug, Default)]
pub struct StatusBoard(Arc<Mutex<BTreeMap<&'static str, Value>>>);

impl StatusBoard {
    /// Puts a value under a key, in place of what was there. A value that has no JSON form shows as its error.
    pub fn set(&self, key: &'static str, value: &(impl Serialize + ?Sized)) {
        let value = serde_json::to_value(value).unwrap_or_else(|error| Value::String(format!("not JSON: {error}")));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }

    /// Takes a key away.
    pub fn remove(&self, key: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// All of it.
    #[must_use]
    pub fn values(&self) -> BTreeMap<&'static str, Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_under_a_key_stands() {
        let board = StatusBoard::default();
        board.set("routes", &3);
        board.clone().set("routes", &serde_json::json!({ "live": 4 }));
        board.set("gone", "x");
        board.remove("gone");
        assert_eq!(serde_json::to_string(&board.values()).unwrap(), r#"{"routes":{"live":4}}"#);
    }
}
