//! Strict reading of a document from outside.

use super::{ModelDeployment, check::check};
use crate::refusal::{Refusal, Refusals};
use serde_json::Value;

/// The most refusals in one answer: enough to repair a document by, too few to make the answer large.
const MAX_REFUSALS: usize = 16;

impl ModelDeployment {
    /// Reads a document from outside: unknown fields, wrong types and values out of range are refused.
    ///
    /// # Errors
    /// Every refusal that could be found, up to a bound: the first structural one and all unknown fields, or all values out of
    /// range.
    pub fn read(document: &Value) -> Result<Self, Refusals> {
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(document, &mut track);
        let parsed: Result<Self, _> = serde_ignored::deserialize(tracked, |path| {
            if unknown.len() < MAX_REFUSALS {
                unknown.push(path.to_string().replace(".?", ""));
            }
        });
        let mut refusals: Vec<Refusal> = unknown.iter().map(|path| unknown_field(document, path)).collect();
        match parsed {
            Err(error) => {
                let path = track.path().to_string();
                // Nothing was read behind it, so it comes before the bound.
                refusals.truncate(MAX_REFUSALS - 1);
                refusals.push(structural(document, &path, &error.to_string()));
                Err(Refusals(refusals))
            }
            Ok(deployment) => {
                refusals.extend(check(&deployment));
                refusals.truncate(MAX_REFUSALS);
                if refusals.is_empty() { Ok(deployment) } else { Err(Refusals(refusals)) }
            }
        }
    }
}

fn structural(document: &Value, path: &str, error: &str) -> Refusal {
    // What a secret reference refuses may be a secret; its own message does not repeat it, and neither does this.
    let value = if [".url", ".accessKey", ".secretKey"].iter().any(|secret| path.ends_with(secret)) {
        "(not shown)".to_owned()
    } else {
        lookup(document, path).map_or_else(|| "(absent)".to_owned(), ToString::to_string)
    };
    Refusal::new(shown(path), value, error)
}

/// A path as it is told: that of the document itself is no text.
fn shown(path: &str) -> &str {
    if matches!(path, "" | ".") { "(document)" } else { path }
}

fn unknown_field(document: &Value, path: &str) -> Refusal {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let known = known_fields(parent);
    let allowed = if known.is_empty() {
        format!("no field `{name}` here")
    } else {
        format!("no field `{name}` here; known: {}", known.join(", "))
    };
    Refusal::new(shown(path), lookup(document, path).map_or_else(String::new, ToString::to_string), allowed)
}

/// What stands at a path. A key may have dots itself (the label of a node), so what is there tells where one ends.
fn lookup<'a>(at: &'a Value, path: &str) -> Option<&'a Value> {
    let path = path.trim_start_matches(['.', '[', ']']);
    if path.is_empty() {
        return Some(at);
    }
    if let Value::Array(elements) = at {
        let (index, rest) = path.split_at(path.find(['.', ']']).unwrap_or(path.len()));
        return lookup(elements.get(index.parse::<usize>().ok()?)?, rest);
    }
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
    let fields = at.as_object()?.iter();
    let fits =
        fields.filter_map(|(key, value)| Some((value, path.strip_prefix(key.as_str()).filter(|rest| ends(rest))?)));
    fits.filter_map(|(value, rest)| lookup(value, rest)).next()
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[', ']']).filter(|part| !part.is_empty())
}

/// The field names the schema knows at `path`.
fn known_fields(path: &str) -> Vec<String> {
    let schema = ModelDeployment::json_schema();
    let mut at = &schema;
    for part in parts(path) {
        let resolved = resolve(&schema, at);
        let next = if part.bytes().all(|b| b.is_ascii_digit()) {
            resolved.get("items")
        } else {
            resolved.get("properties").and_then(|p| p.get(part)).or_else(|| {
                let variants = resolved.get("oneOf")?.as_array()?;
                variants.iter().find_map(|v| resolve(&schema, v).get("properties")?.get(part))
            })
        };
        match next {
            Some(found) => at = found,
            None => return Vec::new(),
        }
    }
    let resolved = resolve(&schema, at);
    resolved.get("properties").and_then(Value::as_object).map(|p| p.keys().cloned().collect()).unwrap_or_default()
}

fn resolve<'a>(schema: &'a Value, node: &'a Value) -> &'a Value {
    let reference = node.get("$ref").or_else(|| {
        // Optional parts are `anyOf: [{$ref}, {type: null}]`.
        node.get("anyOf").and_then(Value::as_array).and_then(|any| any.iter().find_map(|one| one.get("$ref")))
    });
    match reference.and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/")) {
        Some(name) => schema.get("$defs").and_then(|defs| defs.get(name)).unwrap_or(node),
        None => node,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn minimal() -> Value {
        json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///models/digits.onnx" } } })
    }

    fn with(path: &str, value: Value) -> Value {
        let mut document = minimal();
        document.pointer_mut(path.rsplit_once('/').unwrap().0).unwrap()[path.rsplit_once('/').unwrap().1] = value;
        document
    }

    fn refused(document: &Value) -> Vec<Refusal> {
        ModelDeployment::read(document).unwrap_err().0
    }

    #[test]
    fn name_and_uri_suffice() {
        let deployment = ModelDeployment::read(&minimal()).unwrap();
        assert_eq!(deployment.id().to_string(), "default.digits");
        assert_eq!(deployment.spec.rollout.steps, [5, 25, 50, 100]);
    }

    #[test]
    fn what_was_read_is_read_again_from_its_own_json() {
        let deployment = ModelDeployment::read(&minimal()).unwrap();
        let again = ModelDeployment::read(&serde_json::to_value(&deployment).unwrap()).unwrap();
        assert_eq!(deployment, again);
        assert_eq!(deployment.digest(), again.digest());
    }

    #[test]
    fn every_unknown_field_is_named_with_those_that_are_known() {
        let mut document = with("/spec/servng", json!({}));
        document["spec"]["model"]["sha"] = json!("x");
        document["metadata"]["labels"] = json!({});
        let refusals = refused(&document);
        let paths: Vec<&str> = refusals.iter().map(|r| r.path.as_str()).collect();
        assert!(paths.contains(&"spec.servng") && paths.contains(&"spec.model.sha"), "{paths:?}");
        let servng = refusals.iter().find(|r| r.path == "spec.servng").unwrap();
        assert!(servng.allowed.contains("serving"), "{servng}");
        let sha = refusals.iter().find(|r| r.path == "spec.model.sha").unwrap();
        assert!(sha.allowed.contains("sha256"), "{sha}");
    }

    #[test]
    fn a_wrong_type_or_word_is_named_by_path_value_and_what_is_allowed() {
        for (path, value, word) in [
            ("/spec/scale", json!({ "min": "many" }), "u32"),
            ("/spec/infrastructure", json!({ "target": "moon" }), "bare-metal"),
            ("/spec/serving", json!({ "batching": { "maxDelay": "2 ms" } }), "20ms"),
            ("/spec/resources", json!({ "memory": "lots" }), "512Mi"),
            ("/spec/inputs", json!([{ "kafka": {} }]), "http"),
            ("/spec/placement", json!({ "spread": "rack" }), "zone"),
            ("/spec/placement", json!({ "nodeSelector": { "example.com/a.b": 7 } }), ".b: 7 is not"),
            ("/spec/placement", json!({ "tolerations": [{ "key": "a", "effect": "Evict" }] }), "NoExecute"),
            ("/spec/placement", json!({ "storage": {} }), "size"),
            ("/spec/inputs", json!([{ "nats": {} }, { "nats": {} }]), "once"),
            ("/metadata/name", json!("Digits"), "a-z"),
            ("/metadata/namespace", json!("a.b"), "a-z"),
        ] {
            let refusals = refused(&with(path, value));
            assert!(refusals.iter().any(|r| r.to_string().contains(word)), "{path}: {refusals:?}");
        }
    }

    #[test]
    fn requests_over_nats_cannot_be_held_to_networks() {
        let mut document = with("/spec/inputs", json!([{ "http": {} }, { "nats": {} }]));
        assert!(ModelDeployment::read(&document).is_ok());
        document["spec"]["access"] = json!({ "allowFrom": ["10.0.0.0/8"] });
        assert_eq!(refused(&document)[0].path, "spec.access.allowFrom");
    }

    #[test]
    fn a_secret_written_into_the_spec_is_refused_and_not_repeated() {
        let document = with("/spec/outputs", json!([{ "postgres": { "url": "postgres://user:hunter2@host/db" } }]));
        let refusals = refused(&document);
        assert!(!format!("{refusals:?}").contains("hunter2"), "{refusals:?}");
        assert!(refusals[0].allowed.contains("env:NAME"), "{refusals:?}");
    }

    #[test]
    fn what_is_refused_is_bounded_however_much_there_is_to_refuse() {
        let mut document = minimal();
        for n in 0..1_000 {
            document["spec"][format!("unknown{n}")] = json!({});
        }
        assert_eq!(refused(&document).len(), MAX_REFUSALS);
        let many = with("/spec/fixed", json!(vec!["no.such.path"; 1_000]));
        assert_eq!(refused(&many).len(), MAX_REFUSALS);
        let long = with(&format!("/spec/{}", "x".repeat(100_000)), json!("y".repeat(100_000)));
        assert!(refused(&long)[0].to_string().len() < 2_000);
    }

    #[test]
    fn a_field_without_a_name_is_refused_as_one_of_the_document() {
        let mut document = minimal();
        document[""] = json!(1);
        assert_eq!(refused(&document)[0].path, "(document)");
    }

    #[test]
    fn a_document_that_is_no_object_is_refused() {
        for document in [json!(null), json!([]), json!("x"), json!({}), json!({ "metadata": {} })] {
            assert!(!refused(&document).is_empty());
        }
    }
}
