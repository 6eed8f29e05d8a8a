//! How far a worker is. Asked with every request, so that is a read of an atomic; who waits for a change is woken by it.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

/// How far the worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The model is loaded; there is no identity yet.
    Warm = 0,
    /// Requests are served.
    Serving = 1,
    /// What is in hand is finished; nothing new is taken.
    Draining = 2,
}

/// The phase of a worker. It only ever moves on.
#[derive(Debug)]
pub(super) struct Standing {
    phase: AtomicU8,
    changed: watch::Sender<Phase>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { phase: AtomicU8::new(Phase::Warm as u8), changed: watch::Sender::new(Phase::Warm) }
    }
}

impl Standing {
    pub(super) fn now(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Warm,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<Phase> {
        self.changed.subscribe()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        // Two that enter at once both tell the later phase.
        self.changed.send_replace(self.now());
    }
}
