//! One sample of every answer, with every field set, so that a golden file shows the whole message.

use serde_json::json;
use slipway_kernel::{
    Abandoned, Annulled, Answer, Approved, Archived, BlobReference, ByteSize, Candidate, Cause, Change, Check,
    CommandReason, CpuMillis, Declined, Degraded, Deployed, Digest, Endpoint, Failed, Finding, FindingKind, Generation,
    GpuFacts, InfrastructureChosen, InfrastructureReady, IntakeReference, Item, MachineFacts, Measurement, ModelFacts,
    ModelFormat, OperatorCount, Outcome, Plan, Planned, PlatformCandidate, PlatformRejected, PlatformSelected, Proof,
    Ready, Recovered, Refusals, Released, Removed, Requested, Retired, RevisionId, RollbackRequested, RolledBack,
    Shifted, Span, Superseded, TensorSpec, Timestamp, ValidationReport, Veto, spec::ModelDeployment,
};

/// A document that sets every field.
///
/// # Errors
/// If the sample is no longer a document that the gate accepts.
pub fn document() -> Result<ModelDeployment, Refusals> {
    ModelDeployment::read(&json!({
        "apiVersion": "slipway.dev/v1",
        "kind": "ModelDeployment",
        "metadata": { "name": "digits", "namespace": "default" },
        "spec": {
            "model": {
                "uri": "https://models.example/digits.onnx",
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "format": "onnx",
                "signature": {
                    "inputs": [{ "name": "X", "datatype": "FP32", "shape": [-1, 64] }],
                    "outputs": [{ "name": "label", "datatype": "INT64", "shape": [-1] }]
                }
            },
            "infrastructure": {
                "target": "local", "residency": ["eu"], "compliance": ["gdpr"], "control": "own", "elasticity": "bursty",
                "latencyBudget": "20ms", "budgetPerHour": 5.5, "gpu": "required", "approval": "manual"
            },
            "placement": {
                "nodeSelector": { "node.kubernetes.io/instance-type": "g5.xlarge" },
                "nodeAffinity": [
                    { "key": "topology.kubernetes.io/zone", "operator": "In", "values": ["eu-1a", "eu-1b"] },
                    { "key": "spot", "operator": "DoesNotExist", "weight": 50 }
                ],
                "tolerations": [
                    { "key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule" },
                    { "key": "reserved", "value": "models", "effect": "NoExecute", "tolerationSeconds": 3600 }
                ],
                "spread": "zone", "priorityClass": "models", "gpuProfile": "1g.5gb",
                "storage": { "size": "10Gi", "class": "fast-ssd", "mode": "ReadWriteOncePod" }
            },
            "serving": {
                "platform": "container",
                "container": {
                    "image": "registry.example/digits@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
                },
                "protocols": ["http", "grpc"], "batching": { "maxSize": 32, "maxDelay": "2ms" },
                "cache": { "maxBytes": "64Mi" }, "hedging": { "after": "40ms" }
            },
            "resources": { "cpu": "500m", "memory": "512Mi", "gpuMemory": "0" },
            "scale": { "min": 1, "max": 10, "signal": "queue-depth", "target": 8 },
            "inputs": [{ "http": { "maxBody": "1Mi", "timeout": "5s" } }],
            "access": {
                "anonymous": false, "apiKeys": true,
                "jwt": { "issuer": "https://id.example", "audience": "digits", "jwks": "https://id.example/keys" },
                "rateLimit": "100/s", "allowFrom": ["10.0.0.0/8", "::1/128"]
            },
            "outputs": [
                { "sqlite": { "table": "results" } },
                { "postgres": { "url": "env:RESULTS_URL", "table": "results" } },
                { "files": { "uri": "file:///var/lib/results", "format": "ndjson", "compression": "gzip", "partition": "hour" } },
                { "s3": {
                    "bucket": "ml-results", "prefix": "team-a/results", "endpoint": "https://minio.internal:9000",
                    "region": "eu-central-1", "accessKey": "env:RESULTS_ACCESS_KEY", "secretKey": "file:/run/secrets/results",
                    "format": "parquet", "compression": "snappy", "partition": "day"
                } }
            ],
            "record": "before-reply",
            "slo": { "latencyP99": "50ms", "availability": 99.9, "throughput": "200/s" },
            "validation": {
                "golden": "file:///data/golden.jsonl", "minAccuracy": 0.95, "tolerance": 0.001,
                "load": { "rate": "100/s", "duration": "5s", "repeats": 3 },
                "faults": ["worker-killed"], "maxRevisions": 5
            },
            "rollout": { "steps": [5, 25, 50, 100], "hold": "30s", "watch": "10m" },
            "fixed": ["resources.memory"]
        }
    }))
}

fn intake() -> IntakeReference {
    IntakeReference { source: "ci/digits".into(), id: "build-4711".into() }
}

fn veto() -> Veto {
    Veto { rule: "gpu".into(), reason: "a GPU is required and there is none".into() }
}

fn machine() -> MachineFacts {
    MachineFacts {
        cores: 8,
        memory_bytes: 34_359_738_368,
        memory_available_bytes: 21_474_836_480,
        disk_available_bytes: 107_374_182_400,
        gpus: vec![GpuFacts {
            name: "NVIDIA A100".into(),
            memory_bytes: 42_949_672_960,
            compute_capability: "8.0".into(),
            memory_free_bytes: 42_000_000_000,
            uuid: "GPU-6a8d0b1e-3c1f-4a52-9f1a-0d8f0c9b7e21".into(),
            mig: true,
        }],
        gpu_note: "one of two is in use".into(),
        engines: vec!["tract".into(), "onnxruntime".into()],
        engine_note: "one of two is wanted".into(),
        architecture: "x86_64".into(),
        operating_system: "linux".into(),
    }
}

fn finding() -> Finding {
    Finding {
        kind: FindingKind::Latency,
        cause: Cause::Deterministic,
        message: "99 of 100 requests took up to 81 ms, wanted are 50 ms".into(),
        measured: Some(81.5),
        wanted: Some(50.0),
        unit: "ms".into(),
        evidence: vec!["check/latency-p99".into()],
    }
}

fn proof() -> Proof {
    Proof { name: "round trip".into(), detail: "written, read back and compared".into() }
}

fn item() -> Item {
    Item { name: "address".into(), value: "127.0.0.1:8080".into() }
}

fn measurement() -> Measurement {
    Measurement { name: "latency-p99".into(), value: 12.25, unit: "ms".into() }
}

fn blob(media_type: &str) -> BlobReference {
    BlobReference { digest: Digest::of(b"blob"), media_type: media_type.into(), size_bytes: 4_711 }
}

fn model() -> ModelFacts {
    ModelFacts {
        digest: Digest::of(b"model"),
        size_bytes: 10_485_760,
        format: ModelFormat::Onnx,
        inputs: vec![TensorSpec { name: "X".into(), datatype: "FP32".into(), shape: vec![-1, 64] }],
        outputs: vec![TensorSpec { name: "label".into(), datatype: "INT64".into(), shape: vec![-1] }],
        operators: vec![OperatorCount { operator: "Gemm".into(), count: 2 }],
        parameters: 4_810,
        memory_estimate_bytes: 33_554_432,
        opset: 17,
        producer: "skl2onnx".into(),
    }
}

fn platform() -> PlatformCandidate {
    PlatformCandidate {
        platform: "triton".into(),
        score: 0.5,
        vetoes: vec![veto()],
        reasons: vec!["serves ONNX".into()],
    }
}

fn plan() -> Plan {
    Plan {
        target: "local".into(),
        platform: "slipway".into(),
        model_digest: Digest::of(b"model"),
        replicas: 2,
        cpu: CpuMillis(500),
        memory: ByteSize::mebibytes(512),
        threads: 1,
        max_batch: 32,
        max_delay: Span::millis(2),
        queue_limit: 256,
        fixed_batching: true,
        latency_target: Some(slipway_kernel::Span::millis(40)),
    }
}

fn failed() -> Failed {
    Failed { findings: vec![finding()] }
}

fn ready() -> Ready {
    Ready { configured: vec![item()], proofs: vec![proof()] }
}

fn report() -> ValidationReport {
    ValidationReport {
        checks: vec![Check {
            name: "latency-p99".into(),
            outcome: Outcome::Failed,
            detail: "three repeats of 5 s at 100/s".into(),
            measured: Some(81.5),
            wanted: Some(50.0),
            noise: Some(2.5),
            unit: "ms".into(),
        }],
        findings: vec![finding()],
        missing: vec!["security".into()],
        report: Some(blob("text/markdown")),
        plan_digest: Some(plan().digest()),
    }
}

fn command() -> CommandReason {
    CommandReason { reason: "maintenance".into(), intake: intake() }
}

/// One of every answer, in the order of [`Answer::NAMES`].
///
/// # Errors
/// If the sample document is no longer accepted.
pub fn answers() -> Result<Vec<Answer>, Refusals> {
    let deployment = document()?;
    let reason = || "the finding's reason".to_owned();
    Ok(vec![
        Answer::Requested(Requested { spec_digest: deployment.digest(), deployment, intake: intake() }),
        Answer::InfrastructureChosen(InfrastructureChosen {
            target: "local".into(),
            reason: reason(),
            candidates: vec![Candidate {
                target: "aws".into(),
                score: 0.25,
                vetoes: vec![veto()],
                reasons: vec!["elastic".into()],
                cost_per_hour: 3.06,
            }],
            machine: machine(),
            needs_approval: true,
        }),
        Answer::Approved(Approved { reason: reason(), intake: intake() }),
        Answer::Declined(Declined { reason: reason(), intake: intake() }),
        Answer::InfrastructureReady(InfrastructureReady {
            target: "local".into(),
            machine: machine(),
            proofs: vec![proof()],
        }),
        Answer::InfrastructureFailed(failed()),
        Answer::PlatformSelected(PlatformSelected {
            platform: "slipway".into(),
            image: "registry.example/slipway/worker@sha256:…".into(),
            reason: reason(),
            model: model(),
            candidates: vec![platform()],
            golden: Some(blob("application/jsonl")),
        }),
        Answer::PlatformRejected(PlatformRejected {
            findings: vec![finding()],
            candidates: vec![platform()],
            model: Some(model()),
        }),
        Answer::Planned(Planned {
            plan: plan(),
            digest: plan().digest(),
            manifests: Some(blob("application/json")),
            revises: Some(RevisionId::new(1, 1)),
            changes: vec![Change {
                path: "maxBatch".into(),
                from: "8".into(),
                to: "32".into(),
                finding: FindingKind::Throughput,
                reason: reason(),
            }],
        }),
        Answer::Deployed(Deployed {
            endpoints: vec![Endpoint {
                instance: "default.digits.1-1.0-0a1b2c3d".into(),
                address: "127.0.0.1:40001".into(),
            }],
            measurements: vec![measurement()],
            fencing_token: 9_007_199_254_740_993,
        }),
        Answer::DeployFailed(failed()),
        Answer::IngressReady(ready()),
        Answer::IngressFailed(failed()),
        Answer::OutputsReady(ready()),
        Answer::OutputsFailed(failed()),
        Answer::ObservabilityReady(ready()),
        Answer::ObservabilityFailed(failed()),
        Answer::SecurityReady(ready()),
        Answer::SecurityFailed(failed()),
        Answer::Validated(report()),
        Answer::ValidationFailed(report()),
        Answer::ValidationInconclusive(report()),
        Answer::Shifted(Shifted {
            percent: 25,
            beside: Some(RevisionId::new(1, 2)),
            measurements: vec![measurement()],
        }),
        Answer::Released(Released { replaces: Some(RevisionId::new(1, 2)), measurements: vec![measurement()] }),
        Answer::Degraded(Degraded { findings: vec![finding()] }),
        Answer::Recovered(Recovered { measurements: vec![measurement()] }),
        Answer::RolledBack(RolledBack { to: RevisionId::new(1, 2), reason: reason(), findings: vec![finding()] }),
        Answer::RollbackRequested(RollbackRequested {
            to: Some(RevisionId::new(1, 2)),
            reason: reason(),
            intake: intake(),
        }),
        Answer::Paused(command()),
        Answer::Resumed(command()),
        Answer::RevalidationRequested(command()),
        Answer::RetireRequested(command()),
        Answer::Annulled(Annulled {
            fact: "default.digits.2.1.validation.0".into(),
            reason: reason(),
            intake: intake(),
        }),
        Answer::Removed(Removed { items: vec![item()] }),
        Answer::RemovalFailed(failed()),
        Answer::Superseded(Superseded { by: Generation(3) }),
        Answer::Abandoned(Abandoned {
            reason: reason(),
            advice: "raise slo.latencyP99 or scale.max".into(),
            findings: vec![finding()],
        }),
        Answer::Retired(Retired { removed: vec![item()] }),
        Answer::Archived(Archived {
            last_generation: Generation(3),
            export: Digest::of(b"export"),
            retired_at: Timestamp(1_795_000_000_000),
        }),
    ])
}
