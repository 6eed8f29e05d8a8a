//! The log: facts written once, or against a sequence; read one by one, per deployment, or followed as a whole.

mod entry;
mod publish;
mod read;
mod view;

pub use entry::{Content, Entry, RawFact};
pub use publish::{AppendError, Draft, Written, WrittenAgainst};
pub use read::{LogState, Tail, TailEvent};
pub use view::{Change, Changes, Folded, View};

use crate::{connect::Bus, error::BusError};

/// The log, as this principal may use it.
#[derive(Clone, Debug)]
pub struct Log {
    bus: Bus,
}

impl Log {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// The view of this connection: made at the first call, which returns when it has read the whole log once.
    ///
    /// # Errors
    /// When the log cannot be read within a minute.
    pub async fn follow(&self) -> Result<View, BusError> {
        self.bus.view_cell().get_or_try_init(|| View::start(&self.bus)).await.cloned()
    }
}
