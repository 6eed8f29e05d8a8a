use super::*;
use serde_json::json;

fn envelope(content: ContentType, data: &[u8]) -> Envelope {
    Envelope {
        id: "1".into(),
        source: "test".into(),
        kind: String::new(),
        subject: None,
        time: None,
        correlation: None,
        causation: None,
        actor: None,
        traceparent: None,
        content,
        data: data.to_vec().into(),
    }
}

fn read_json(verb: Verb, data: &Value) -> Result<Demand, Refused> {
    let envelope = envelope(ContentType::Json, data.to_string().as_bytes());
    read(&"default".parse().unwrap(), verb, &envelope)
}

fn refused(verb: Verb, data: &Value) -> (String, Vec<String>) {
    let refused = read_json(verb, data).unwrap_err();
    let paths = match &refused {
        Refused::InvalidSpec(refusals) | Refused::InvalidCommand(refusals) => {
            refusals.0.iter().map(|refusal| refusal.path.clone()).collect()
        }
        _ => Vec::new(),
    };
    (refused.name().to_owned(), paths)
}

fn document() -> Value {
    json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m.onnx" } } })
}

#[test]
fn a_document_is_read_from_json_and_from_protobuf() {
    let Demand::Deploy(from_json) = read_json(Verb::Deploy, &document()).unwrap() else { panic!() };
    let bytes = slipway_proto::json::json_to_bytes("slipway.v1.ModelDeployment", &document(), Unknown::Refuse).unwrap();
    let envelope = envelope(ContentType::Protobuf, &bytes);
    let Demand::Deploy(from_protobuf) = read(&"default".parse().unwrap(), Verb::Deploy, &envelope).unwrap() else {
        panic!()
    };
    assert_eq!(from_json.id().to_string(), "default.digits");
    assert_eq!(from_protobuf, from_json);
}

#[test]
fn a_command_is_read_with_all_it_may_say() {
    let data = json!({ "deployment": "digits", "generation": 2, "reason": "it smells", "to": "1-2" });
    let Demand::Command(command) = read_json(Verb::Rollback, &data).unwrap() else { panic!() };
    assert_eq!((command.deployment.to_string().as_str(), command.generation), ("default.digits", Some(Generation(2))));
    assert_eq!((command.reason.as_str(), command.to), ("it smells", Some(RevisionId::new(1, 2))));
    for key in ["default.digits.1.0.choice.0", "slipway.lifecycle.default.digits.1.0.choice.0"] {
        let data = json!({ "deployment": "digits", "reason": "wrong", "fact": key });
        let Demand::Command(command) = read_json(Verb::Annul, &data).unwrap() else { panic!() };
        assert_eq!(command.fact.unwrap().to_string(), "default.digits.1.0.choice.0");
    }
}

#[test]
fn a_command_from_protobuf_has_no_empty_texts() {
    let bytes =
        slipway_proto::json::json_to_bytes("slipway.v1.Command", &json!({ "deployment": "digits" }), Unknown::Refuse);
    let envelope = envelope(ContentType::Protobuf, &bytes.unwrap());
    let Demand::Command(command) = read(&"default".parse().unwrap(), Verb::Pause, &envelope).unwrap() else { panic!() };
    assert_eq!((command.deployment.name.as_str(), command.generation, command.to), ("digits", None, None));
}

#[test]
fn what_is_wrong_with_a_document_is_named_with_its_paths() {
    let mut typo = document();
    typo["spec"]["modle"] = json!({});
    let mut range = document();
    range["spec"]["scale"] = json!({ "min": 0, "target": 0 });
    let mut foreign = document();
    foreign["metadata"]["namespace"] = json!("team-b");
    let nothing: &[&str] = &[];
    for (data, name, paths) in [
        (typo, "invalid-spec", &["spec.modle"][..]),
        (range, "invalid-spec", &["spec.scale.min", "spec.scale.target"]),
        (json!([]), "invalid-spec", &["(document)"]),
        (json!({ "metadata": { "name": "Digits" }, "spec": {} }), "invalid-spec", &["metadata.name"]),
        (foreign, "namespace-mismatch", nothing),
    ] {
        assert_eq!(refused(Verb::Deploy, &data), (name.to_owned(), paths.iter().map(|p| (*p).to_owned()).collect()));
    }
}

#[test]
fn what_is_wrong_with_a_command_is_named_with_all_its_paths() {
    for (verb, data, paths) in [
        (Verb::Pause, json!("digits"), &["(document)"][..]),
        (Verb::Pause, json!({}), &["deployment"]),
        (Verb::Pause, json!({ "deployment": 1 }), &["deployment"]),
        (Verb::Pause, json!({ "deployment": "a.b" }), &["deployment"]),
        (Verb::Pause, json!({ "deployment": "d", "who": 1 }), &["who"]),
        (Verb::Pause, json!({ "deployment": "d", "generation": 0 }), &["generation"]),
        (Verb::Pause, json!({ "deployment": "d", "generation": "1" }), &["generation"]),
        (Verb::Pause, json!({ "deployment": "d", "reason": "x".repeat(2_001) }), &["reason"]),
        (Verb::Pause, json!({ "deployment": "d", "to": "1-1" }), &["to"]),
        (Verb::Pause, json!({ "deployment": "d", "fact": "default.d.1.0.choice.0" }), &["fact"]),
        (Verb::Rollback, json!({ "deployment": "d", "to": "1" }), &["to"]),
        (Verb::Annul, json!({ "deployment": "d" }), &["reason", "fact"]),
        (Verb::Annul, json!({ "deployment": "d", "reason": " ", "fact": "x" }), &["reason", "fact"]),
    ] {
        let expected = ("invalid-command".to_owned(), paths.iter().map(|p| (*p).to_owned()).collect());
        assert_eq!(refused(verb, &data), expected, "{verb} {data}");
    }
}

#[test]
fn what_cannot_be_read_at_all_is_malformed() {
    for (content, data) in
        [(ContentType::Json, &b"{"[..]), (ContentType::Json, b""), (ContentType::Protobuf, b"\xff\xff\xff\xff")]
    {
        let refused = read(&"default".parse().unwrap(), Verb::Deploy, &envelope(content, data)).unwrap_err();
        assert_eq!(refused.name(), "malformed-data");
    }
}
