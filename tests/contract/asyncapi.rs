//! The AsyncAPI document of the intake, its answers, the log and the doors for requests: generated from the slot table, the topology and
//! the protobuf descriptors, so that it cannot say anything else than they do.

use crate::golden::compare;
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use slipway_bus::{Verb, topology};
use slipway_kernel::{Answer, Attempt, DeploymentId, FactKey, Generation, Label, Revision, Service, Slot};
use slipway_proto::{DESCRIPTORS, lifecycle::message_of};
use slipway_tests::samples;
use std::collections::BTreeMap;

/// What stands for a parameter, how the parameter is written, its name and what it is. No subject has these by itself.
const PLACEHOLDERS: [(&str, &str, &str, &str); 9] = [
    ("the-namespace", "{namespace}", "namespace", "namespace, a DNS label"),
    ("the-deployment", "{deployment}", "deployment", "name of the deployment, a DNS label"),
    ("1111", "{generation}", "generation", "version of the document, counted up from 1"),
    ("2222", "{revision}", "revision", "set of manifests, counted up from 1"),
    ("3333", "{attempt}", "attempt", "which try at the question, from 0"),
    ("shift-77", "shift-{percent}", "percent", "share of the traffic in percent, 1 to 99"),
    ("command-4444", "command-{number}", "number", "number of the command, from 0"),
    ("removal-sink-writer", "removal-{service}", "service", "the service that removed what it made"),
    ("the-token", "{token}", "token", "the first 32 hexadecimal digits of SHA-256 over `<ce-source>\\n<ce-id>`"),
];

fn namespace() -> Label {
    "the-namespace".parse().unwrap()
}

/// A subject with its placeholders as parameters: address and parameters.
fn channel(subject: &str, messages: &[String], title: &str) -> Value {
    let mut address = subject.to_owned();
    let mut parameters = Map::new();
    for (stands, becomes, name, description) in PLACEHOLDERS {
        if !address.contains(stands) {
            continue;
        }
        address = address.replace(stands, becomes);
        let mut parameter = json!({ "description": description });
        if name == "service" {
            parameter["enum"] = json!(Service::REMOVERS.map(Service::name));
        }
        parameters.insert(name.to_owned(), parameter);
    }
    let references: Map<String, Value> = messages
        .iter()
        .map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    json!({ "address": address, "title": title, "parameters": parameters, "messages": references })
}

fn slots() -> Vec<Slot> {
    Slot::FIXED.into_iter().chain([Slot::Shift(77), Slot::Command(4444), Slot::Removal(Service::SinkWriter)]).collect()
}

/// `shift`, `command`, `removal` for the slots with a variable part.
fn slot_name(slot: Slot) -> String {
    match slot {
        Slot::Shift(_) => "shift".to_owned(),
        Slot::Command(_) => "command".to_owned(),
        Slot::Removal(_) => "removal".to_owned(),
        fixed => fixed.to_string(),
    }
}

fn log_subject(slot: Slot) -> String {
    let deployment = DeploymentId { namespace: namespace(), name: "the-deployment".parse().unwrap() };
    let revision = Revision(if slot.fits_revision(1) { 2222 } else { 0 });
    topology::fact(&FactKey { deployment, generation: Generation(1111), revision, slot, attempt: Attempt(3333) })
}

fn headers(kind: &str, more: &[(&str, &str)]) -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let mut properties = json!({
        "ce-specversion": { "const": "1.0" },
        "ce-type": { "const": kind },
        "ce-id": text("the id its sender gave it"),
        "ce-source": text("who sends it; together with the id it names the event"),
        "content-type": text("`application/json` or, for demands, `application/protobuf`"),
        "traceparent": text("W3C trace context"),
    });
    for (name, description) in more {
        properties[*name] = text(description);
    }
    json!({ "type": "object", "required": ["ce-specversion", "ce-type", "ce-id", "ce-source"], "properties": properties })
}

const SIGNATURE: [(&str, &str); 2] = [
    ("slipway-key", "public user nkey (`U…`) of the sender"),
    (
        "slipway-signature",
        "base64url of its ed25519 signature over `<subject>\\n<hex SHA-256 of the payload>\\n<ce-source>\\n<ce-id>`",
    ),
];
/// What a request over NATS may say beside its payload: name and meaning.
const OF_REQUEST: [(&str, &str); 8] = [
    ("content-type", "`application/protobuf` (also where nothing is said), `application/json`"),
    ("inference-header-content-length", "bytes of the document in front of its tensors"),
    ("slipway-request-id", "the id under which the effect happens once: 1 to 128 of `a-z A-Z 0-9 - _`"),
    ("Nats-Msg-Id", "the same, where that is not given"),
    ("slipway-timeout-ms", "deadline in milliseconds, 1 to 300000"),
    ("slipway-api-key", "an API key"),
    ("authorization", "`Bearer` and a JWT or an API key"),
    ("traceparent", "W3C trace context"),
];
const REPLY_TO: (&str, &str) =
    ("slipway-reply-to", "where the answer goes: a subject below the inbox prefix of its sender");
const OF_REPLY: [(&str, &str); 6] = [
    ("content-type", "that of the request; `application/json` for a refusal"),
    ("slipway-request-id", "the id of the request"),
    ("slipway-revision", "the revision that answered"),
    ("Nats-Service-Error-Code", "of a refusal: its number in HTTP"),
    ("Nats-Service-Error", "of a refusal: its sentence"),
    ("slipway-failure", "of a refusal: its word"),
];

fn properties(headers: &[(&str, &str)]) -> Value {
    let named = headers
        .iter()
        .map(|(name, description)| ((*name).to_owned(), json!({ "type": "string", "description": description })));
    json!({ "type": "object", "properties": named.collect::<Map<String, Value>>() })
}

/// The doors for requests: channels, operations and messages.
fn doors(channels: &mut Map<String, Value>, operations: &mut Map<String, Value>, messages: &mut Map<String, Value>) {
    let id = DeploymentId { namespace: namespace(), name: "the-deployment".parse().unwrap() };
    let payload = |message: &str| {
        json!({
            "schemaFormat": "application/vnd.google.protobuf;version=3",
            "schema": format!("the message {message} of ../inference/open_inference_grpc.proto, or the same as a document of the Open Inference Protocol v2"),
        })
    };
    let left: Vec<(&str, &str)> = OF_REQUEST.into_iter().chain([REPLY_TO]).collect();
    for (name, title, headers, message) in [
        ("inference-left", "a request that is left", &left[..], "inference.ModelInferRequest"),
        ("inference-asked", "a request whose sender waits", &OF_REQUEST, "inference.ModelInferRequest"),
        ("inference-reply", "the answer, or a refusal", &OF_REPLY, "inference.ModelInferResponse"),
    ] {
        messages.insert(
            name.to_owned(),
            json!({
                "name": name,
                "title": title,
                "contentType": "application/protobuf",
                "headers": properties(headers),
                "payload": payload(message),
            }),
        );
    }
    let (infer, request) = (topology::asked(&id), topology::inbound(&id));
    channels.insert(
        "inference-infer".to_owned(),
        channel(
            &infer,
            &["inference-asked".to_owned(), "inference-reply".to_owned()],
            "requests that are answered on their reply subject",
        ),
    );
    channels.insert(
        "inference-request".to_owned(),
        channel(
            &request,
            &["inference-left".to_owned()],
            "requests that are left; the broker acknowledges that they are kept",
        ),
    );
    operations.insert(
        "infer".to_owned(),
        json!({
            "action": "send",
            "channel": { "$ref": "#/channels/inference-infer" },
            "messages": [{ "$ref": "#/channels/inference-infer/messages/inference-asked" }],
            "reply": {
                "channel": { "$ref": "#/channels/inference-infer" },
                "messages": [{ "$ref": "#/channels/inference-infer/messages/inference-reply" }],
            },
            "description": "Core NATS: nothing is stored. Who asks while no ingress is there is told so by the broker.",
        }),
    );
    operations.insert(
        "leave".to_owned(),
        json!({
            "action": "send",
            "channel": { "$ref": "#/channels/inference-request" },
            "messages": [{ "$ref": "#/channels/inference-request/messages/inference-left" }],
            "description": "JetStream: kept from its acknowledgement on. The reply subject belongs to the broker; the answer goes where `slipway-reply-to` says, and may come twice.",
        }),
    );
}

const LINEAGE: [(&str, &str); 3] = [
    ("ce-actor", "who answered, from the verified credential"),
    ("ce-correlationid", "what binds all facts of one demand together"),
    ("ce-causationid", "key of the fact that led to this one"),
];

fn document() -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = Map::new();
    let mut schemas = BTreeMap::new();
    for verb in Verb::ALL {
        let name = format!("{verb}-demand");
        let kind = verb.kind();
        let payload = if verb == Verb::Deploy {
            json!({ "$ref": "../schema/model-deployment.schema.json" })
        } else {
            reference(&mut schemas, "slipway.v1.Command")
        };
        messages.insert(
            name.clone(),
            json!({
                "name": kind,
                "title": format!("demand: {verb}"),
                "description": "A CloudEvent in binary mode as shown, or in structured mode (`application/cloudevents+json`, `application/cloudevents+protobuf`); data as JSON or as the protobuf message of the same name.",
                "contentType": "application/json",
                "headers": headers(&kind, &SIGNATURE),
                "payload": payload,
            }),
        );
        let subject = topology::intake(&namespace(), verb.as_str());
        channels.insert(
            format!("intake-{verb}"),
            channel(&subject, std::slice::from_ref(&name), &format!("demands: {verb}")),
        );
        operations.insert(
            verb.to_string(),
            json!({
                "action": "send",
                "channel": { "$ref": format!("#/channels/intake-{verb}") },
                "messages": [{ "$ref": format!("#/channels/intake-{verb}/messages/{name}") }],
                "reply": {
                    "channel": { "$ref": "#/channels/intake-answers" },
                    "messages": [{ "$ref": "#/channels/intake-answers/messages/answer" }],
                },
                "description": "Answered on the reply subject and, for a month, on the channel of answers. The same source and id again changes nothing and gives the same answer.",
            }),
        );
    }
    let answers = topology::intake_answer(&namespace(), "source", "id");
    let token = topology::intake_token("source", "id");
    channels.insert(
        "intake-answers".to_owned(),
        channel(&answers.replace(&token, "the-token"), &["answer".to_owned()], "what the gate answered"),
    );
    messages.insert(
        "answer".to_owned(),
        json!({
            "name": "answer",
            "title": "the gate's answer: the subject of the fact that was written, or a named error",
            "contentType": "application/json",
            "payload": reference(&mut schemas, "slipway.v1.IntakeAnswer"),
        }),
    );
    doors(&mut channels, &mut operations, &mut messages);
    let samples = samples::answers().unwrap();
    for slot in slots() {
        let name = slot_name(slot);
        let answers: Vec<&Answer> = samples.iter().filter(|answer| answer.answers(slot)).collect();
        assert!(!answers.is_empty(), "{slot} has no answer");
        let names: Vec<String> = answers.iter().map(|answer| answer.name().to_owned()).collect();
        for answer in &answers {
            let kind = format!("dev.slipway.{}.v1", answer.name());
            messages.insert(
                answer.name().to_owned(),
                json!({
                    "name": kind,
                    "title": format!("{name}: {}", answer.name()),
                    "contentType": "application/json",
                    "headers": headers(&kind, &LINEAGE),
                    "payload": reference(&mut schemas, message_of(answer.name()).unwrap()),
                    "description": format!("A sample stands in `proto/golden/{}.json`.", answer.name()),
                }),
            );
        }
        let by = if matches!(slot, Slot::Removal(_)) {
            "each service that made something"
        } else {
            slot.answered_by().name()
        };
        channels.insert(format!("log-{name}"), channel(&log_subject(slot), &names, &format!("answered by {by}")));
        operations.insert(
            format!("follow-{name}"),
            json!({ "action": "receive", "channel": { "$ref": format!("#/channels/log-{name}") } }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Slipway: intake, log and inference",
            "version": "1.1.0",
            "description": "Requests go to the doors of deployments. Demands go to the intake; what came of them are facts in the log, each an answer to one question, each written once. Only services write facts.",
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": { "local": { "host": "127.0.0.1:4222", "protocol": "nats", "security": [{ "$ref": "#/components/securitySchemes/nkey" }] } },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": { "nkey": { "type": "asymmetricEncryption", "description": "a NATS user nkey" } },
        },
    })
}

/// A reference to the schema of a message, which is made if it is not there yet.
fn reference(schemas: &mut BTreeMap<String, Value>, full_name: &str) -> Value {
    let message = DESCRIPTORS.get_message_by_name(full_name).unwrap_or_else(|| panic!("no message {full_name}"));
    of_message(schemas, &message)
}

fn of_message(schemas: &mut BTreeMap<String, Value>, message: &MessageDescriptor) -> Value {
    if message.full_name() == "slipway.v1.ModelDeployment" {
        return json!({ "$ref": "../schema/model-deployment.schema.json" });
    }
    let name = message.name().to_owned();
    if !schemas.contains_key(&name) {
        // Before its fields, so that a message may hold itself.
        schemas.insert(name.clone(), Value::Null);
        let fields = message.fields().map(|field| (field.json_name().to_owned(), of_field(schemas, &field)));
        let properties: Map<String, Value> = fields.collect();
        schemas.insert(name.clone(), json!({ "type": "object", "properties": properties }));
    }
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn of_field(schemas: &mut BTreeMap<String, Value>, field: &FieldDescriptor) -> Value {
    let one = match field.kind() {
        Kind::Double | Kind::Float => json!({ "type": "number" }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer" }),
        Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0 }),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "pattern": "^-?[0-9]+$" }),
        Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "pattern": "^[0-9]+$" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String | Kind::Enum(_) => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Message(message) => of_message(schemas, &message),
    };
    if field.cardinality() == Cardinality::Repeated { json!({ "type": "array", "items": one }) } else { one }
}

#[test]
fn the_published_asyncapi_document_is_that_of_the_slots_the_topology_and_the_messages() {
    compare("asyncapi/slipway.asyncapi.json", &document());
}

#[test]
fn every_channel_of_the_document_is_a_subject_with_named_parameters() {
    let document = document();
    let channels = document["channels"].as_object().unwrap();
    assert_eq!(channels.len(), Verb::ALL.len() + 1 + slots().len() + 2);
    for (name, channel) in channels {
        let address = channel["address"].as_str().unwrap();
        let named: Vec<&str> = address.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        let declared: Vec<&String> = channel["parameters"].as_object().unwrap().keys().collect();
        assert_eq!(named.len(), declared.len(), "{name}: {address}");
        assert!(named.iter().all(|name| declared.iter().any(|other| other == name)), "{name}: {address}");
        assert!(address.starts_with("slipway.") && !address.contains("the-") && !address.contains("1111"), "{address}");
    }
    assert_eq!(
        channels["log-shift"]["address"],
        "slipway.lifecycle.{namespace}.{deployment}.{generation}.{revision}.shift-{percent}.{attempt}"
    );
    assert_eq!(
        channels["log-request"]["address"],
        "slipway.lifecycle.{namespace}.{deployment}.{generation}.0.request.{attempt}"
    );
    assert_eq!(
        channels["log-removal"]["address"],
        "slipway.lifecycle.{namespace}.{deployment}.{generation}.0.removal-{service}.{attempt}"
    );
    assert_eq!(channels["intake-answers"]["address"], "slipway.intake-answers.{namespace}.{token}");
    assert_eq!(channels["inference-infer"]["address"], "slipway.inference.{namespace}.{deployment}.infer");
    assert_eq!(channels["inference-request"]["address"], "slipway.inference.{namespace}.{deployment}.request");
}

#[test]
fn every_answer_is_a_message_of_the_document() {
    let document = document();
    for name in Answer::NAMES {
        assert!(document["components"]["messages"].get(*name).is_some(), "{name}");
    }
}
