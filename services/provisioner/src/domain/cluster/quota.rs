//! What the namespace still has: quotas over all of it, and bounds on each container.

use super::{
    Needs, Unanswered,
    admission::gpu_resource,
    proof,
    quantity::{thousandths, units},
};
use serde_json::Value;
use slipway_kernel::{ByteSize, Finding, FindingKind, Proof};

/// What quotas may count of a revision's workers, each by the names it goes by, and how much the workers take.
fn asked(needs: &Needs) -> Vec<(Vec<String>, u64, Unit)> {
    let workers = u64::from(needs.workers);
    let of_all = |each: u64| each.saturating_mul(workers);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let storage = needs.placement.storage.as_ref();
    let workload = if storage.is_some() { "count/statefulsets.apps" } else { "count/deployments.apps" };
    let mut asked = vec![
        (names(&["requests.cpu", "cpu"]), of_all(needs.cpu_milli), Unit::Cpu),
        (names(&["requests.memory", "memory"]), of_all(needs.memory_bytes), Unit::Bytes),
        (names(&["limits.cpu"]), of_all(needs.cpu_limit_milli()), Unit::Cpu),
        (names(&["limits.memory"]), of_all(needs.memory_bytes), Unit::Bytes),
        (vec![format!("requests.{}", gpu_resource(&needs.placement))], of_all(u64::from(needs.gpus)), Unit::Count),
        (names(&["pods", "count/pods"]), workers, Unit::Count),
        // One of each for a revision, and an anchor.
        (names(&[workload]), 1, Unit::Count),
        (names(&["services", "count/services"]), 1, Unit::Count),
        (names(&["configmaps", "count/configmaps"]), 2, Unit::Count),
    ];
    if let Some(storage) = storage {
        let of_class =
            storage.class.iter().map(|class| format!("{class}.storageclass.storage.k8s.io/requests.storage"));
        let sizes = std::iter::once("requests.storage".to_owned()).chain(of_class).collect();
        asked.push((sizes, of_all(storage.size.0), Unit::Bytes));
        asked.push((names(&["persistentvolumeclaims", "count/persistentvolumeclaims"]), workers, Unit::Count));
    }
    asked
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Cpu,
    Bytes,
    Count,
}

impl Unit {
    fn read(self, text: &str) -> Option<u64> {
        match self {
            Self::Cpu => thousandths(text),
            Self::Bytes | Self::Count => units(text),
        }
    }

    fn show(self, amount: u64) -> String {
        match self {
            Self::Cpu => format!("{amount}m"),
            Self::Bytes => ByteSize(amount).to_string(),
            Self::Count => amount.to_string(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "millicores",
            Self::Bytes => "bytes",
            Self::Count => "count",
        }
    }
}

/// Whether every quota leaves room for the first workers.
pub(super) fn judge(quotas: &Result<Value, Unanswered>, needs: &Needs) -> Result<Proof, Vec<Finding>> {
    let quotas = match quotas {
        Ok(quotas) => quotas["items"].as_array().cloned().unwrap_or_default(),
        Err(why) => return Ok(proof("quota", format!("quotas cannot be looked at: {why}"))),
    };
    let (ours, others): (Vec<&Value>, Vec<&Value>) = quotas.iter().partition(|quota| counts_workers(quota));
    let findings: Vec<Finding> = ours.iter().flat_map(|quota| exceeded(quota, needs)).collect();
    if !findings.is_empty() {
        return Err(findings);
    }
    let apart = if others.is_empty() { String::new() } else { format!(", {} of other scope", others.len()) };
    Ok(proof("quota", format!("{} quota(s) leave room for {} worker(s){apart}", ours.len(), needs.workers)))
}

/// Whether a quota counts pods like ours, which ask for and are bound in what they use, and live until they are ended.
fn counts_workers(quota: &Value) -> bool {
    let scopes = quota.pointer("/spec/scopes").and_then(Value::as_array).into_iter().flatten();
    let mut scopes = scopes.filter_map(Value::as_str);
    quota.pointer("/spec/scopeSelector").is_none()
        && scopes.all(|scope| ["NotBestEffort", "NotTerminating"].contains(&scope))
}

fn exceeded(quota: &Value, needs: &Needs) -> Vec<Finding> {
    let name = quota.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let of = |part: &str, resource: &str| {
        let at = quota["status"][part].get(resource).or_else(|| quota["spec"][part].get(resource));
        at.and_then(Value::as_str)
    };
    let mut findings = Vec::new();
    for (names, wanted, unit) in asked(needs) {
        for resource in &names {
            let Some(hard) = of("hard", resource).and_then(|text| unit.read(text)) else { continue };
            let used = of("used", resource).and_then(|text| unit.read(text)).unwrap_or(0);
            let left = hard.saturating_sub(used);
            if left >= wanted {
                continue;
            }
            let message = format!(
                "quota `{name}` leaves {} of {} for {resource}, {} worker(s) want {}",
                unit.show(left),
                unit.show(hard),
                needs.workers,
                unit.show(wanted)
            );
            // What others use may be given back.
            let finding = if hard < wanted {
                Finding::deterministic(FindingKind::Unschedulable, message)
            } else {
                Finding::transient(FindingKind::Unschedulable, message)
            };
            findings.push(figures(finding, left, wanted, unit).with_evidence(format!("resourcequota:{name}")));
        }
    }
    findings
}

/// Whether a worker is within the bounds on each container and pod.
pub(super) fn judge_ranges(ranges: &Result<Value, Unanswered>, needs: &Needs) -> Result<Proof, Vec<Finding>> {
    let ranges = match ranges {
        Ok(ranges) => ranges["items"].as_array().cloned().unwrap_or_default(),
        Err(why) => return Ok(proof("limit-range", format!("limit ranges cannot be looked at: {why}"))),
    };
    let findings: Vec<Finding> = ranges.iter().flat_map(|range| outside(range, needs)).collect();
    if findings.is_empty() {
        Ok(proof("limit-range", format!("a worker is within {} limit range(s)", ranges.len())))
    } else {
        Err(findings)
    }
}

fn outside(range: &Value, needs: &Needs) -> Vec<Finding> {
    let name = range.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let bounds = range.pointer("/spec/limits").and_then(Value::as_array).into_iter().flatten();
    let bounds = bounds.filter(|bound| bound["type"] == "Container" || bound["type"] == "Pod");
    let mut findings = Vec::new();
    for bound in bounds {
        let kind = bound["type"].as_str().unwrap_or_default().to_lowercase();
        for (resource, unit, request, limit) in [
            ("cpu", Unit::Cpu, needs.cpu_milli, needs.cpu_limit_milli()),
            ("memory", Unit::Bytes, needs.memory_bytes, needs.memory_bytes),
        ] {
            let at = |part: &str| bound[part][resource].as_str().and_then(|text| unit.read(text));
            let mut breach = |bound: u64, value: u64, words: &str| {
                let message = format!(
                    "limit range `{name}` lets a {kind} have {words} {} of {resource}, a worker has {}",
                    unit.show(bound),
                    unit.show(value)
                );
                let finding = Finding::deterministic(FindingKind::Unschedulable, message);
                findings.push(figures(finding, bound, value, unit).with_evidence(format!("limitrange:{name}")));
            };
            if let Some(max) = at("max").filter(|max| limit > *max) {
                breach(max, limit, "at most");
            }
            if let Some(min) = at("min").filter(|min| request < *min) {
                breach(min, request, "at least");
            }
            // A pure number; read in thousandths.
            let ratio = bound["maxLimitRequestRatio"][resource].as_str().and_then(thousandths);
            if let Some(ratio) = ratio.filter(|ratio| limit.saturating_mul(1_000) > request.saturating_mul(*ratio)) {
                let most = request.saturating_mul(ratio) / 1_000;
                breach(most, limit, "for what it asks for at most");
            }
        }
    }
    findings
}

#[expect(clippy::cast_precision_loss, reason = "figures for people and comparisons, not addresses")]
fn figures(finding: Finding, measured: u64, wanted: u64, unit: Unit) -> Finding {
    finding.with_figures(measured as f64, wanted as f64, unit.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use slipway_kernel::Cause;

    fn needs() -> Needs {
        Needs { cpu_milli: 1_500, memory_bytes: 1 << 30, gpus: 0, workers: 2, ..Needs::default() }
    }

    fn quota(hard: &Value, used: &Value) -> Value {
        json!({ "items": [{ "metadata": { "name": "team" }, "spec": { "hard": hard }, "status": { "hard": hard, "used": used } }] })
    }

    fn found(hard: &Value, used: &Value) -> Vec<Finding> {
        judge(&Ok(quota(hard, used)), &needs()).err().unwrap_or_default()
    }

    #[test]
    fn a_quota_is_held_against_all_first_workers() {
        assert!(found(&json!({ "requests.cpu": "3", "limits.memory": "2Gi", "pods": "2" }), &json!({})).is_empty());
        let findings = found(&json!({ "requests.memory": "4Gi" }), &json!({ "requests.memory": "2560Mi" }));
        assert_eq!(findings[0].message, "quota `team` leaves 1536Mi of 4Gi for requests.memory, 2 worker(s) want 2Gi");
        assert_eq!((findings[0].kind, findings[0].cause), (FindingKind::Unschedulable, Cause::Transient));
        let findings = found(&json!({ "limits.cpu": "3", "pods": "1" }), &json!({}));
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].message.contains("limits.cpu, 2 worker(s) want 4000m"), "two cores each: {findings:?}");
        assert!(findings.iter().all(|finding| finding.cause == Cause::Deterministic));
    }

    #[test]
    fn volumes_and_parts_of_gpus_are_counted_by_their_own_names() {
        let placement = serde_json::json!({ "gpuProfile": "1g.5gb", "storage": { "size": "10Gi", "class": "fast" } });
        let needs = Needs { gpus: 1, placement: serde_json::from_value(placement).unwrap(), ..needs() };
        let class = "fast.storageclass.storage.k8s.io/requests.storage";
        for (resource, hard) in [
            ("requests.storage", "15Gi"),
            (class, "15Gi"),
            ("persistentvolumeclaims", "1"),
            ("requests.nvidia.com/mig-1g.5gb", "1"),
            ("count/statefulsets.apps", "0"),
        ] {
            let findings = judge(&Ok(quota(&json!({ resource: hard }), &json!({}))), &needs).unwrap_err();
            assert!(findings.len() == 1 && findings[0].message.contains(resource), "{findings:?}");
        }
        assert!(judge(&Ok(quota(&json!({ "count/deployments.apps": "0" }), &json!({}))), &needs).is_ok());
    }

    #[test]
    fn quotas_that_do_not_count_workers_are_passed_over_and_unseen_ones_are_noted() {
        let mut scoped = quota(&json!({ "pods": "0" }), &json!({}));
        scoped["items"][0]["spec"]["scopes"] = json!(["BestEffort"]);
        assert!(judge(&Ok(scoped.clone()), &needs()).unwrap().detail.contains("1 of other scope"));
        scoped["items"][0]["spec"]["scopes"] = json!(["NotTerminating", "NotBestEffort"]);
        assert!(judge(&Ok(scoped), &needs()).is_err());
        assert!(judge(&Err(Unanswered::Forbidden("x".into())), &needs()).is_ok());
    }

    fn range(bound: &Value) -> Vec<Finding> {
        let ranges = json!({ "items": [{ "metadata": { "name": "small" }, "spec": { "limits": [bound] } }] });
        judge_ranges(&Ok(ranges), &needs()).err().unwrap_or_default()
    }

    #[test]
    fn a_worker_outside_of_a_limit_range_is_found_with_the_bound() {
        assert!(
            range(&json!({ "type": "Container", "max": { "cpu": "2", "memory": "1Gi" }, "min": { "cpu": "1" } }))
                .is_empty()
        );
        assert!(range(&json!({ "type": "PersistentVolumeClaim", "max": { "memory": "1" } })).is_empty());
        for (bound, words) in [
            (
                json!({ "type": "Container", "max": { "memory": "512Mi" } }),
                "a container have at most 512Mi of memory, a worker has 1Gi",
            ),
            (json!({ "type": "Pod", "max": { "cpu": "1" } }), "a pod have at most 1000m of cpu, a worker has 2000m"),
            (json!({ "type": "Container", "min": { "cpu": "2" } }), "at least 2000m of cpu, a worker has 1500m"),
            (
                json!({ "type": "Container", "maxLimitRequestRatio": { "cpu": "1" } }),
                "for what it asks for at most 1500m of cpu",
            ),
        ] {
            let findings = range(&bound);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert!(findings[0].message.contains(words), "{}", findings[0].message);
            assert_eq!(findings[0].cause, Cause::Deterministic);
        }
    }
}
