//! `ModelDeployment` as a custom resource: the definition that a cluster takes, made of the schema of the document.
//!
//! A cluster takes less than JSON Schema can say ("structural" schemas): no references, no `const`, no null beside a type, and of a choice among
//! objects only what all of them could be together. What is lost by it is said again as rules (CEL); the reader of the document stays the last to
//! judge.

mod bounds;

use serde_json::{Map, Value, json};

/// The plural name of the resource.
pub const PLURAL: &str = "modeldeployments";
/// The group of the resource.
pub const GROUP: &str = "slipway.dev";
/// The version that is served and stored.
pub const VERSION: &str = "v1";
/// How many elements a list may have. A rule on elements costs as many times what it costs once, and the API server bounds the sum.
const MOST_ELEMENTS: u32 = 64;
/// How long a text may be: that of a URI. The same reason; a text without a bound counts as one of megabytes.
const MOST_CHARACTERS: u32 = 2_048;

/// The definition, from the schema of the document.
#[must_use]
pub fn definition(document: &Value) -> Value {
    let null = Value::Null;
    let definitions = document.get("$defs").unwrap_or(&null);
    let mut spec = structural(document.pointer("/properties/spec").unwrap_or(&null), definitions);
    // A bound of a field that is no more is found by a test.
    bounds::bind(&mut spec);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{PLURAL}.{GROUP}") },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "plural": PLURAL,
                "singular": "modeldeployment",
                "kind": "ModelDeployment",
                "shortNames": ["mdep"],
                "categories": ["all", "slipway"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    column("Phase", ".status.phase"),
                    column("Revision", ".status.servingRevision"),
                    column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
                    // Shown by `--output wide`.
                    json!({ "name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1 }),
                    json!({ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" }),
                ],
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "description": "A model and what it must do.",
                    "required": ["spec"],
                    "properties": {
                        "spec": spec,
                        "status": status(),
                    },
                    "x-kubernetes-validations": [{
                        "rule": "self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",
                        "message": "metadata.name: 1 to 63 characters a-z, 0-9 and '-', for it is the name of the model",
                    }],
                }},
            }],
        },
    })
}

/// A column of `kubectl get`.
fn column(name: &str, path: &str) -> Value {
    json!({ "name": name, "type": "string", "jsonPath": path })
}

/// What the controller says of it.
fn status() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let number = |description: &str| json!({ "type": "integer", "format": "int64", "description": description });
    json!({
        "type": "object",
        "description": "What the log says of it. Written by Slipway alone.",
        "properties": {
            "observedGeneration": number("The metadata.generation that this is about."),
            "generation": number("The generation of the deployment in the log that came of it."),
            "demand": text("The id of a demand that is, or is about to be, sent to the gate, until its answer is known."),
            "phase": text("Where that generation stands; `pending` or `refused` while there is none."),
            "servingRevision": text("The revision that has the traffic."),
            "message": text("The last thing that happened, in one sentence."),
            "url": text("Where requests go."),
            "lastChange": { "type": "string", "format": "date-time", "description": "When the log last said something of it." },
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
                    "properties": {
                        "type": text("Accepted, Progressing, Ready, Stalled."),
                        "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                        "observedGeneration": number("The metadata.generation that it is about."),
                        "lastTransitionTime": { "type": "string", "format": "date-time" },
                        "reason": text("In one word."),
                        "message": text("In one sentence."),
                    },
                },
            },
        },
    })
}

/// A schema as clusters take it.
fn structural(schema: &Value, definitions: &Value) -> Value {
    let Some(schema) = schema.as_object() else { return schema.clone() };
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let name = target.rsplit('/').next().unwrap_or_default();
        let mut found = structural(definitions.get(name).unwrap_or(&Value::Null), definitions);
        describe(&mut found, schema);
        return found;
    }
    if let Some(choices) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
        let mut chosen = choice(choices, definitions);
        describe(&mut chosen, schema);
        return chosen;
    }
    let mut out = Map::new();
    for (key, value) in schema {
        match key.as_str() {
            "type" => drop(out.insert(key.clone(), without_null(value))),
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                let properties = properties.map(|(name, schema)| (name.clone(), structural(schema, definitions)));
                out.insert(key.clone(), Value::Object(properties.collect()));
            }
            "items" => {
                out.insert(key.clone(), structural(value, definitions));
                out.entry("maxItems").or_insert_with(|| MOST_ELEMENTS.into());
            }
            // Objects are closed by the reader; a cluster drops what it does not know.
            "additionalProperties" if value.is_boolean() => {}
            "additionalProperties" => drop(out.insert(key.clone(), structural(value, definitions))),
            // What is not said stays unsaid: the reader knows the defaults, and nobody but its author writes into a spec.
            "$schema" | "$defs" | "title" | "default" => {}
            // A cluster knows no unsigned numbers; what they may be stands in their bounds.
            "format" if *value == "uint32" => drop(out.insert(key.clone(), "int64".into())),
            _ => drop(out.insert(key.clone(), value.clone())),
        }
    }
    if out.get("type").is_some_and(|kind| kind == "string") && !out.contains_key("enum") {
        out.insert("maxLength".to_owned(), MOST_CHARACTERS.into());
    }
    Value::Object(out)
}

/// What stands beside a reference says what it is here.
fn describe(found: &mut Value, beside: &Map<String, Value>) {
    if let (Some(description), Value::Object(found)) = (beside.get("description"), found) {
        found.insert("description".to_owned(), description.clone());
    }
}

/// One of several: of words their list, of a thing and nothing the thing, of objects with one key each the object with all of them and a rule.
fn choice(choices: &[Value], definitions: &Value) -> Value {
    let real: Vec<&Value> = choices.iter().filter(|one| one["type"] != "null").collect();
    if let [one] = real.as_slice()
        && one.get("const").is_none()
        && one.get("required").is_none()
    {
        return structural(one, definitions);
    }
    let words: Vec<&Value> = real.iter().filter_map(|one| one.get("const")).collect();
    if words.len() == real.len() {
        return json!({ "type": "string", "enum": words });
    }
    let mut properties = Map::new();
    for one in &real {
        for (name, schema) in one["properties"].as_object().into_iter().flatten() {
            properties.insert(name.clone(), structural(schema, definitions));
        }
    }
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    let has: Vec<String> = names.iter().map(|name| format!("has(self.{name})")).collect();
    let rule = json!({
        "rule": format!("[{}].exists_one(is, is)", has.join(", ")),
        "message": format!("exactly one of {}", names.join(", ")),
    });
    json!({ "type": "object", "properties": properties, "x-kubernetes-validations": [rule] })
}

fn without_null(kind: &Value) -> Value {
    let real = kind.as_array().and_then(|kinds| kinds.iter().find(|kind| **kind != "null"));
    real.unwrap_or(kind).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_document() -> Value {
        definition(&serde_json::from_str(include_str!("../schema/model-deployment.schema.json")).unwrap())
    }

    fn at<'a>(definition: &'a Value, path: &str) -> &'a Value {
        let root = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        definition.pointer(&format!("{root}/{path}")).unwrap_or(&Value::Null)
    }

    /// Every schema below one.
    fn each(schema: &Value, visit: &mut impl FnMut(&Map<String, Value>)) {
        match schema {
            Value::Object(fields) => {
                visit(fields);
                fields.values().for_each(|value| each(value, visit));
            }
            Value::Array(elements) => elements.iter().for_each(|value| each(value, visit)),
            _ => {}
        }
    }

    #[test]
    fn it_says_nothing_that_a_cluster_does_not_take() {
        each(&of_document(), &mut |schema| {
            for key in ["$ref", "$defs", "const", "oneOf", "anyOf"] {
                assert!(!schema.contains_key(key), "{key} in {schema:?}");
            }
            assert!(!schema.get("type").is_some_and(Value::is_array), "{schema:?}");
        });
    }

    #[test]
    fn words_are_listed_and_one_of_several_objects_is_a_rule() {
        let definition = of_document();
        assert_eq!(at(&definition, "serving/properties/platform/enum/0"), "auto");
        let inputs = at(&definition, "inputs/items");
        assert!(inputs["properties"]["http"].is_object() && inputs["properties"]["nats"].is_object());
        assert_eq!(
            inputs["x-kubernetes-validations"][0]["rule"],
            "[has(self.http), has(self.nats)].exists_one(is, is)"
        );
        assert!(at(&definition, "scale")["x-kubernetes-validations"][0]["message"].as_str().unwrap().contains("min"));
    }

    #[test]
    fn each_bound_is_about_a_field_that_is_there() {
        let document: Value = serde_json::from_str(include_str!("../schema/model-deployment.schema.json")).unwrap();
        let mut spec = structural(document.pointer("/properties/spec").unwrap(), &document["$defs"]);
        assert_eq!(bounds::bind(&mut spec), [""; 0]);
    }

    #[test]
    fn a_cluster_fills_nothing_in_and_every_text_has_an_end() {
        each(&of_document(), &mut |schema| {
            assert!(!schema.contains_key("default"), "{schema:?}");
            assert_ne!(schema.get("format").and_then(Value::as_str), Some("uint32"), "{schema:?}");
        });
        assert_eq!(at(&of_document(), "model/properties/uri/maxLength"), 2_048);
    }

    #[test]
    fn a_field_keeps_its_description() {
        let definition = of_document();
        assert_eq!(at(&definition, "model/properties/uri/type"), "string");
        assert!(at(&definition, "slo/properties/latencyP99/description").is_string());
    }
}
