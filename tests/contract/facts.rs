//! Every fact: its golden sample, its protobuf and back, and nothing in it that must not be there.

use crate::golden::compare;
use serde_json::Value;
use slipway_kernel::{
    Answer,
    spec::{Input, ModelDeployment, NatsInput},
};
use slipway_proto::json::{Unknown, bytes_to_json, json_to_bytes};
use slipway_proto::lifecycle::message_of;
use slipway_tests::samples;

#[test]
fn there_is_a_sample_of_every_answer() {
    let names: Vec<&str> = samples::answers().unwrap().iter().map(Answer::name).collect();
    assert_eq!(names, Answer::NAMES);
}

#[test]
fn every_answer_is_written_as_its_golden_sample_and_read_back() {
    for answer in samples::answers().unwrap() {
        let json = answer.to_json().unwrap();
        compare(&format!("golden/{}.json", answer.name()), &json);
        let bytes = serde_json::to_vec(&json).unwrap();
        assert_eq!(Answer::from_json(answer.name(), &bytes).unwrap(), answer, "{}", answer.name());
    }
}

#[test]
fn every_answer_survives_protobuf_without_a_field_unknown_to_either_side() {
    for answer in samples::answers().unwrap() {
        let message = message_of(answer.name()).unwrap();
        let json = answer.to_json().unwrap();
        let bytes = json_to_bytes(message, &json, Unknown::Refuse).unwrap_or_else(|e| panic!("{message}: {e}"));
        let back = bytes_to_json(message, &bytes, Unknown::Refuse).unwrap();
        let back = Answer::from_json(answer.name(), &serde_json::to_vec(&back).unwrap()).unwrap();
        assert_eq!(back, answer, "{message}");
    }
}

#[test]
fn a_newer_writers_field_is_skipped_in_the_log() {
    for answer in samples::answers().unwrap() {
        let mut json = answer.to_json().unwrap();
        json["fieldOfTheFuture"] = Value::Bool(true);
        let bytes = serde_json::to_vec(&json).unwrap();
        assert_eq!(Answer::from_json(answer.name(), &bytes).unwrap(), answer, "{}", answer.name());
    }
}

#[test]
fn no_fact_carries_a_secret_or_a_persons_data() {
    for answer in samples::answers().unwrap() {
        let text = answer.to_json().unwrap().to_string().to_lowercase();
        for word in ["password", "passwd", "secret\":", "private key", "bearer ", "\"token\":", "://user:", "@example"]
        {
            assert!(!text.contains(word), "{} carries `{word}`", answer.name());
        }
    }
}

#[test]
fn the_published_json_schema_is_that_of_the_types() {
    compare("schema/model-deployment.schema.json", &ModelDeployment::json_schema());
}

#[test]
fn the_custom_resource_is_the_document() {
    let definition = slipway_proto::custom_resource::definition(&ModelDeployment::json_schema());
    compare("../charts/slipway/crds/modeldeployments.json", &definition);
}

#[test]
fn a_document_is_the_same_as_json_and_as_protobuf() {
    let whole = samples::document().unwrap();
    let mut over_nats = whole.clone();
    over_nats.spec.inputs.push(Input::Nats(NatsInput {}));
    over_nats.spec.access.allow_from.clear();
    for document in [whole, over_nats] {
        let json = serde_json::to_value(&document).unwrap();
        let bytes = json_to_bytes("slipway.v1.ModelDeployment", &json, Unknown::Refuse).unwrap();
        let back = bytes_to_json("slipway.v1.ModelDeployment", &bytes, Unknown::Refuse).unwrap();
        assert_eq!(ModelDeployment::read(&back).unwrap(), document);
    }
}
