//! The first plan of a generation: what the spec says, on what the infrastructure has.

use slipway_kernel::{
    CpuMillis, Finding, FindingKind, InfrastructureReady, Plan, PlatformSelected, Rate, Span, spec::Spec,
};

/// The fewest requests a worker's queue holds: one burst of a few clients.
const MIN_QUEUE: u32 = 32;
/// The most: at a thousand rows a second the last one waits four seconds, and nobody waits longer than that gladly.
pub(super) const MAX_QUEUE: u32 = 4_096;
/// Batches a full queue holds, so that the batcher always finds the next one full under load.
const QUEUED_BATCHES: u32 = 8;
/// What a request may wait where the spec names no latency.
const PATIENCE: Span = Span::seconds(1);
/// What one running worker needs beside its model: the program, its buffers and its connections (measured: about 40
/// MiB).
const WORKER_BASE_BYTES: u64 = 48 << 20;

/// The plan of revision 1.
///
/// # Errors
/// The finding, when what the spec starts with has no room on the infrastructure.
pub fn first_plan(
    spec: &Spec,
    platform: &PlatformSelected,
    infrastructure: &InfrastructureReady,
) -> Result<Plan, Finding> {
    let replicas = spec.scale.min;
    let plan = Plan {
        target: infrastructure.target.clone(),
        platform: platform.platform.clone(),
        model_digest: platform.model.digest.clone(),
        replicas,
        cpu: spec.resources.cpu,
        memory: spec.resources.memory,
        threads: threads(spec.resources.cpu),
        max_batch: spec.serving.batching.max_size,
        max_delay: spec.serving.batching.max_delay,
        queue_limit: queue_limit(spec, replicas, spec.serving.batching.max_size),
        fixed_batching: !spec.serving.batching.adaptive,
        latency_target: latency_target(spec),
    };
    has_room(&plan, platform, infrastructure)?;
    fits_its_volume(spec, &plan, platform).map(|()| plan)
}

/// What a file system takes of a volume for itself, as a share of the files in it: an eighth is more than any common one does.
const FILE_SYSTEM_SHARE: u64 = 8;

fn fits_its_volume(spec: &Spec, plan: &Plan, platform: &PlatformSelected) -> Result<(), Finding> {
    let storage = spec.placement.as_ref().and_then(|placement| placement.storage.as_ref());
    let Some(storage) = storage.filter(|_| plan.is_in_cluster()) else { return Ok(()) };
    let model = platform.model.size_bytes;
    let needs = model.saturating_add(model / FILE_SYSTEM_SHARE);
    if needs <= storage.size.0 {
        return Ok(());
    }
    let message =
        format!("the model has {model} bytes; with what a file system takes it does not fit into {}", storage.size);
    let finding = Finding::deterministic(FindingKind::Misconfigured, message);
    Err(finding
        .with_figures(to_f64(storage.size.0), to_f64(needs), "bytes")
        .with_evidence("spec.placement.storage.size"))
}

fn has_room(plan: &Plan, platform: &PlatformSelected, infrastructure: &InfrastructureReady) -> Result<(), Finding> {
    let unschedulable = |wanted: u64, there: u64, message: String| {
        Finding::deterministic(FindingKind::Unschedulable, message).with_figures(to_f64(wanted), to_f64(there), "bytes")
    };
    let all = plan.memory.0.saturating_mul(u64::from(plan.replicas));
    let there = infrastructure.machine.memory_bytes;
    if there > 0 && all > there {
        let message = format!("{} workers of {} do not fit into the machine's memory", plan.replicas, plan.memory);
        return Err(unschedulable(all, there, message).with_evidence("spec.resources.memory"));
    }
    let needs = platform.model.memory_estimate_bytes.saturating_add(WORKER_BASE_BYTES);
    if there > 0 && needs > there {
        let message = "one loaded copy of the model does not fit into the machine's memory".to_owned();
        return Err(unschedulable(needs, there, message));
    }
    Ok(())
}

/// What the latency objective leaves to a worker: a fifth of it is for the way, and for what takes longer than usual.
fn latency_target(spec: &Spec) -> Option<Span> {
    spec.slo.latency_p99.filter(|_| spec.serving.batching.adaptive).map(|objective| Span(objective.0.mul_f64(0.8)))
}

/// Kernel threads for so much processor time: a thread for each core it may use, begun ones counted whole.
#[must_use]
pub fn threads(cpu: CpuMillis) -> u32 {
    cpu.0.div_ceil(1_000).max(1)
}

/// How many requests may wait in one worker: twice what arrives while one waits as long as it may (Little's law,
/// doubled for bursts), but at least eight batches, twice the concurrency one worker is scaled for, and 32.
#[must_use]
pub fn queue_limit(spec: &Spec, replicas: u32, max_batch: u32) -> u32 {
    let rate = spec.slo.throughput.or(spec.validation.load.rate).map_or(50.0, Rate::per_second);
    let patience = spec.slo.latency_p99.unwrap_or(PATIENCE).0.as_secs_f64();
    let arriving = 2.0 * rate / f64::from(replicas.max(1)) * patience;
    let arriving = (1..=MAX_QUEUE).find(|limit| f64::from(*limit) >= arriving).unwrap_or(MAX_QUEUE);
    let batches = max_batch.saturating_mul(QUEUED_BATCHES);
    arriving.max(batches).max(spec.scale.target.saturating_mul(2)).clamp(MIN_QUEUE, MAX_QUEUE)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people; a byte in a petabyte does not matter")]
pub(crate) fn to_f64(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        manifest::{Model, worker_settings},
        scenario::{id, infrastructure_ready, platform_selected, spec},
    };
    use slipway_kernel::{ByteSize, RevisionId};

    #[test]
    fn the_first_plan_is_what_the_spec_starts_with() {
        let spec = spec(&serde_json::json!({
            "resources": { "cpu": "1500m", "memory": "256Mi" }, "scale": { "min": 2, "max": 3 },
            "serving": { "batching": { "maxSize": 16, "maxDelay": "5ms" } },
        }));
        let plan = first_plan(&spec, &platform_selected(), &infrastructure_ready()).unwrap();
        assert_eq!((plan.replicas, plan.cpu, plan.threads), (2, CpuMillis(1_500), 2));
        assert_eq!((plan.memory, plan.max_batch), (ByteSize::mebibytes(256), 16));
        assert_eq!((plan.max_delay, plan.queue_limit), (Span::millis(5), 128));
        assert_eq!((plan.target.as_str(), plan.platform.as_str()), ("local", "slipway"));
    }

    #[test]
    fn batches_hold_four_fifths_of_the_latency_objective_unless_they_are_fixed() {
        let planned = |adaptive: bool| {
            let document = serde_json::json!({
                "slo": { "latencyP99": "50ms" }, "serving": { "batching": { "adaptive": adaptive } },
            });
            first_plan(&spec(&document), &platform_selected(), &infrastructure_ready()).unwrap()
        };
        let (adaptive, fixed) = (planned(true), planned(false));
        assert_eq!((adaptive.fixed_batching, adaptive.latency_target), (false, Some(Span::millis(40))));
        assert_eq!((fixed.fixed_batching, fixed.latency_target), (true, None));
        let settings = |plan| worker_settings(&id(), RevisionId::new(1, 1), plan, &Model::default());
        assert_eq!(settings(&adaptive)["latency_target"], "40ms");
        assert_eq!((&settings(&fixed)["fixed_delay"], &settings(&fixed)["fixed_batch"]), (&true.into(), &true.into()));
    }

    #[test]
    fn what_has_no_room_is_not_planned() {
        let spec = spec(&serde_json::json!({ "resources": { "memory": "16Gi" }, "scale": { "min": 2, "max": 2 } }));
        let finding = first_plan(&spec, &platform_selected(), &infrastructure_ready()).unwrap_err();
        assert_eq!(finding.kind, FindingKind::Unschedulable);
        assert!(finding.measured > finding.wanted);
    }

    #[test]
    fn a_model_fits_its_volume_where_it_has_one() {
        let spec = spec(&serde_json::json!({ "placement": { "storage": { "size": "64Mi" } } }));
        let planned = |size_bytes, target: &str| {
            let mut platform = platform_selected();
            platform.model.size_bytes = size_bytes;
            let infrastructure = InfrastructureReady { target: target.into(), ..infrastructure_ready() };
            first_plan(&spec, &platform, &infrastructure).map_err(|finding| finding.evidence)
        };
        assert!(planned(56 << 20, "kubernetes").is_ok());
        assert_eq!(planned(60 << 20, "kubernetes").unwrap_err(), ["spec.placement.storage.size"]);
        assert!(planned(60 << 20, "aws").is_err(), "the cluster of a cloud is one");
        assert!(planned(60 << 20, "local").is_ok(), "there is no volume there");
    }

    #[test]
    fn the_queue_holds_what_arrives_while_one_waits() {
        let limit = |part: &serde_json::Value, replicas| queue_limit(&spec(part), replicas, 8);
        assert_eq!(limit(&serde_json::json!({}), 1), 100, "50/s for one second, doubled");
        let busy = serde_json::json!({ "slo": { "throughput": "2000/s", "latencyP99": "100ms" } });
        assert_eq!((limit(&busy, 1), limit(&busy, 4)), (400, 100));
        let huge = serde_json::json!({ "slo": { "throughput": "100000/s" } });
        assert_eq!(limit(&huge, 1), MAX_QUEUE);
    }
}
