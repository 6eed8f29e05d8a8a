//! Room: free disk and free memory. Both change by themselves, so their findings are transient.

use super::{Order, proof};
use slipway_kernel::{ByteSize, Finding, FindingKind, MachineFacts, Proof};

/// There is disk for logs, results and the broker's journal.
pub(super) fn disk(machine: &MachineFacts, least: ByteSize) -> Result<Proof, Finding> {
    let free = machine.disk_available_bytes;
    if free >= least.0 {
        return Ok(proof("disk", format!("{} free, {least} wanted", rounded(free))));
    }
    let message = format!("{} of disk are free, local.min_disk wants {least}; make room or lower it", rounded(free));
    Err(lacking(message, free, least.0))
}

/// There is memory for the first workers and for the services beside them.
pub(super) fn memory(machine: &MachineFacts, spare: ByteSize, order: &Order) -> Result<Proof, Finding> {
    let free = machine.memory_available_bytes;
    let (workers, each) = (order.demands.workers, order.demands.memory);
    let wanted = each.0.saturating_mul(u64::from(workers)).saturating_add(spare.0);
    if free >= wanted {
        let detail = format!("{} free, {workers} × {each} + {spare} wanted", rounded(free));
        return Ok(proof("memory", detail));
    }
    let message = format!(
        "{} of memory are free, {workers} workers of {each} and {spare} beside them are wanted; stop something, or lower spec.resources.memory or spec.scale.min",
        rounded(free)
    );
    Err(lacking(message, free, wanted))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people and comparisons, not an address")]
fn lacking(message: String, measured: u64, wanted: u64) -> Finding {
    Finding::transient(FindingKind::Unschedulable, message).with_figures(measured as f64, wanted as f64, "bytes")
}

/// In whole mebibytes: bytes that change by the second are no information.
fn rounded(bytes: u64) -> ByteSize {
    ByteSize(bytes >> 20 << 20)
}

#[cfg(test)]
mod tests {
    use super::super::tests::order;
    use super::*;
    use slipway_kernel::Cause;

    fn machine(disk: u64, memory: u64) -> MachineFacts {
        MachineFacts {
            disk_available_bytes: disk << 20,
            memory_available_bytes: memory << 20,
            ..MachineFacts::default()
        }
    }

    #[test]
    fn too_little_disk_is_found_with_both_figures() {
        assert!(disk(&machine(256, 0), ByteSize::mebibytes(256)).is_ok());
        let finding = disk(&machine(255, 0), ByteSize::mebibytes(256)).unwrap_err();
        assert_eq!(finding.cause, Cause::Transient);
        assert_eq!(finding.measured, Some(267_386_880.0));
        assert_eq!(finding.wanted, Some(268_435_456.0));
        assert!(finding.message.starts_with("255Mi of disk are free"), "{}", finding.message);
    }

    #[test]
    fn memory_is_counted_for_all_first_workers_and_what_stands_beside_them() {
        let spare = ByteSize::mebibytes(10);
        assert!(memory(&machine(0, 138), spare, &order(1)).is_ok());
        let finding = memory(&machine(0, 137), spare, &order(1)).unwrap_err();
        assert!(finding.message.contains("2 workers of 64Mi and 10Mi beside them"), "{}", finding.message);
    }
}
