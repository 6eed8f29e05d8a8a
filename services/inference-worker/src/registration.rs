//! What the worker tells of itself in the registry of live workers.

use std::net::SocketAddr;

use serde_json::{Value, json};
use slipway_bus::{WorkerRecord, WorkerState};
use slipway_kernel::{Measurement as Figure, TensorSpec as WireSpec, Timestamp};

use crate::config::Assignment;
use crate::engine::Model;
use crate::engine::measure::Measurement;
use crate::load::Loaded;
use crate::signature::TensorSpec;

/// The entry of a worker that has just started.
#[must_use]
pub fn starting(
    assignment: &Assignment,
    fencing_token: u64,
    admin: Option<SocketAddr>,
    now: Timestamp,
) -> WorkerRecord {
    WorkerRecord {
        deployment: assignment.deployment.clone(),
        revision: assignment.revision,
        instance: assignment.instance.clone(),
        host: assignment.host.clone(),
        address: String::new(),
        admin: admin.map(|address| address.to_string()).unwrap_or_default(),
        pid: std::process::id(),
        fencing_token,
        state: WorkerState::Starting,
        measurements: Vec::new(),
        detail: Value::Null,
        since: now,
    }
}

/// Enters what loading found out, and where the door will be.
pub fn warm(record: &mut WorkerRecord, loaded: &Loaded, address: SocketAddr) {
    record.state = WorkerState::Warm;
    record.address = address.to_string();
    record.measurements = figures(loaded);
    record.detail = detail(loaded.model.as_ref(), &loaded.measurement);
}

fn figures(loaded: &Loaded) -> Vec<Figure> {
    let figure = |name: &str, value: f64, unit: &str| Figure { name: name.to_owned(), value, unit: unit.to_owned() };
    let measured = &loaded.measurement;
    let mut figures = vec![
        figure("load-time", measured.load_ms, "ms"),
        figure("warm-up-time", measured.warm_up_ms, "ms"),
        figure("useful-batch", measured.useful_batch as f64, "count"),
        figure("max-batch", loaded.max_rows as f64, "count"),
        figure("resident-memory", measured.resident_bytes as f64, "bytes"),
        figure("model-memory", measured.model_bytes as f64, "bytes"),
        figure("intra-op-threads", measured.intra_op_threads as f64, "count"),
    ];
    if let Some(useful) = measured.points.iter().find(|point| point.rows == measured.useful_batch) {
        figures.push(figure("row-time", useful.run_p50_us / 1e3 / useful.rows as f64, "ms"));
    }
    for point in &measured.points {
        let rows = point.rows;
        figures.push(figure(&format!("throughput-{rows}"), point.rows_per_second, "rows/s"));
        figures.push(figure(&format!("run-p50-{rows}"), point.run_p50_us / 1e3, "ms"));
    }
    figures
}

/// Which engine serves, and why that one.
#[must_use]
pub fn engine(measured: &Measurement) -> Value {
    json!({
        "name": measured.engine,
        "reason": measured.engine_reason,
        "device": measured.device,
        "deviceReason": measured.device_reason,
        "gpu": measured.gpu,
        "threads": measured.pool_threads,
        "intraOpThreads": measured.intra_op_threads,
    })
}

fn detail(model: &dyn Model, measured: &Measurement) -> Value {
    let specs = |specs: &[TensorSpec]| -> Vec<WireSpec> { specs.iter().map(wire_spec).collect() };
    json!({
        "platform": model.platform(),
        "plan": model.plan(),
        "alone": measured.alone,
        "engine": engine(measured),
        "signature": {
            "inputs": specs(&model.signature().inputs),
            "outputs": specs(&model.signature().outputs),
        },
    })
}

fn wire_spec(spec: &TensorSpec) -> WireSpec {
    WireSpec {
        name: spec.name.clone(),
        datatype: spec.data_type.to_string(),
        shape: spec
            .shape
            .iter()
            // A dimension beyond 2^31 fits into no request; it would be refused by its length anyway.
            .map(|&size| i32::try_from(size).unwrap_or(i32::MAX))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::useful_batch::BatchPoint;
    use crate::engine::tract::{TractEngine, fixtures};
    use crate::engine::{Engine as _, LoadOptions};

    #[test]
    fn a_record_tells_what_was_measured_and_what_the_model_takes() {
        let artifact = fixtures::bytes(&fixtures::classifier());
        let model = TractEngine.load(&artifact, &LoadOptions::default()).unwrap();
        let assignment = crate::inference::fixtures::assignment(&artifact);
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let mut record = starting(&assignment, 7, Some(address), Timestamp(5));
        assert_eq!((record.admin.as_str(), record.address.as_str()), ("127.0.0.1:9", ""));
        assert_eq!((record.state, record.fencing_token), (WorkerState::Starting, 7));
        let measurement = Measurement {
            load_ms: 2.0,
            warm_up_ms: 1.0,
            points: vec![BatchPoint { rows: 4, runs: 5, run_p50_us: 500.0, rows_per_second: 8_000.0 }],
            useful_batch: 4,
            resident_bytes: 1 << 20,
            model_bytes: 1 << 10,
            engine: "tract".to_owned(),
            engine_reason: "it is what is configured".to_owned(),
            pool_threads: 1,
            intra_op_threads: 1,
            ..Measurement::default()
        };
        let loaded = Loaded { model: model.into(), measurement, max_rows: 2, threads: 1 };
        warm(&mut record, &loaded, address);
        assert_eq!(record.state, WorkerState::Warm);
        let value =
            |name: &str| record.measurements.iter().find(|figure| figure.name == name).map(|figure| figure.value);
        assert_eq!(value("max-batch"), Some(2.0));
        assert_eq!(value("row-time"), Some(0.125));
        assert_eq!(value("throughput-4"), Some(8_000.0));
        assert_eq!(value("run-p50-4"), Some(0.5));
        assert_eq!(record.detail["signature"]["inputs"][0]["shape"], json!([-1, 4]));
        assert_eq!(record.detail["platform"], "onnx_tract");
    }
}
