//! Where volumes come from.

use super::{Unanswered, proof};
use serde_json::Value;
use slipway_kernel::{Finding, FindingKind, Proof, spec::Storage};

/// What makes a class the one that is taken where none is named.
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// Whether the volumes that workers want can come from somewhere.
pub(super) fn judge(classes: &Result<Value, Unanswered>, wanted: Option<&Storage>) -> Result<Proof, Finding> {
    let classes = match classes {
        Ok(found) => found["items"].as_array().map_or(&[][..], Vec::as_slice),
        Err(why) => return Ok(proof("storage", format!("storage classes cannot be looked at: {why}"))),
    };
    let is_default = |class: &Value| class["metadata"]["annotations"][DEFAULT] == "true";
    let name = |class: &Value| class["metadata"]["name"].as_str().unwrap_or("(unnamed)").to_owned();
    let told: Vec<String> = classes
        .iter()
        .map(|class| format!("`{}`{}", name(class), if is_default(class) { " (default)" } else { "" }))
        .collect();
    let told = if told.is_empty() { "none".to_owned() } else { told.join(", ") };
    let lacking = |message: String| {
        Finding::deterministic(FindingKind::Misconfigured, format!("{message}; there are: {told}"))
            .with_evidence("storageclasses")
    };
    match wanted.map(|storage| storage.class.as_deref()) {
        Some(Some(class)) if !classes.iter().any(|found| name(found) == class) => {
            Err(lacking(format!("there is no storage class `{class}` (spec.placement.storage.class)")))
        }
        Some(None) if !classes.iter().any(is_default) => {
            Err(lacking("no storage class is the default one; name one in spec.placement.storage.class".to_owned()))
        }
        _ => Ok(proof("storage", format!("storage classes: {told}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn storage(class: Option<&str>) -> Storage {
        serde_json::from_value(json!({ "size": "1Gi", "class": class })).unwrap()
    }

    fn classes(default: bool) -> Result<Value, Unanswered> {
        let annotations = if default { json!({ DEFAULT: "true" }) } else { json!({}) };
        Ok(
            json!({ "items": [{ "metadata": { "name": "fast", "annotations": annotations } }, { "metadata": { "name": "slow" } }] }),
        )
    }

    #[test]
    fn a_volume_comes_from_the_class_that_is_named_or_the_default_one() {
        let told = judge(&classes(true), None).unwrap().detail;
        assert_eq!(told, "storage classes: `fast` (default), `slow`");
        assert!(judge(&classes(true), Some(&storage(None))).is_ok());
        assert!(judge(&classes(false), Some(&storage(Some("slow")))).is_ok());
        let unnamed = judge(&classes(false), Some(&storage(None))).unwrap_err();
        assert!(unnamed.message.contains("no storage class is the default one"), "{unnamed:?}");
        let missing = judge(&classes(true), Some(&storage(Some("glacial")))).unwrap_err();
        assert!(missing.message.ends_with("there are: `fast` (default), `slow`"), "{missing:?}");
    }

    #[test]
    fn what_may_not_be_looked_at_is_no_lack_and_without_a_volume_none_is_needed() {
        let unseen = judge(&Err(Unanswered::Forbidden("no".into())), Some(&storage(Some("fast")))).unwrap();
        assert!(unseen.detail.contains("cannot be looked at"), "{unseen:?}");
        let none = judge(&Ok(json!({ "items": [] })), None).unwrap();
        assert_eq!(none.detail, "storage classes: none");
    }
}
