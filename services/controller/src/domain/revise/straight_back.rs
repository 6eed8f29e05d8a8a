//! What goes straight back: findings that no other plan of the same model and spec could be trusted to heal.

use slipway_kernel::FindingKind;

/// Whether the kind is one of them.
pub(super) const fn concerns(kind: FindingKind) -> bool {
    matches!(kind, FindingKind::OutputMismatch | FindingKind::AuthHole)
}

pub(super) const fn reason(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::AuthHole => "somebody without the right was let in, and a changed plan closes no door",
        _ => "the outputs are wrong, and a changed plan makes no other outputs",
    }
}
