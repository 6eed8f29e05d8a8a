//! Whether a model fits into the memory of a device, and how many instances of it do.
//!
//! The figures are worked out before anything is loaded: a driver that runs out of memory half-way through a load leaves the device
//! full for everybody else on it, and says nothing that anyone could act on.

use std::fmt;

use slipway_kernel::ByteSize;

/// What is kept back of a device's memory, as a share of all of it: arenas grow in steps and break into pieces. A twentieth is what a
/// step of a gigabyte leaves unused on a device of 24.
const KEPT_BACK: u64 = 20;

/// And at least so much: the kernels themselves, and the plans that cuDNN makes.
const LEAST_KEPT_BACK: u64 = 256 << 20;

/// What a thread of the pool costs besides the model: a stream, and the workspace of its cuBLAS handle (32 MiB on the devices that
/// want most) and of its cuDNN handle.
const HANDLES: u64 = 64 << 20;

/// What a model needs on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Bytes of its weights.
    pub weights: u64,
    /// Bytes that are held at once while `rows` rows are computed, besides the weights; zero where nobody can tell.
    pub activations: u64,
    /// Rows of the largest batch.
    pub rows: usize,
    /// Whether instances share one copy of the weights.
    pub shared_weights: bool,
}

/// A device's memory in bytes, with nothing of ours on it but the context of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub total: u64,
    /// What nobody uses.
    pub free: u64,
}

impl Room {
    /// What a model may take.
    #[must_use]
    pub fn usable(self) -> u64 {
        self.free.saturating_sub((self.total / KEPT_BACK).max(LEAST_KEPT_BACK))
    }
}

impl Need {
    /// Bytes of so many instances.
    #[must_use]
    pub fn of(self, instances: usize) -> u64 {
        let (once, each) = self.parts();
        once.saturating_add(each.saturating_mul(instances as u64))
    }

    /// How many instances fit.
    #[must_use]
    pub fn instances(self, room: Room) -> usize {
        let (once, each) = self.parts();
        // `HANDLES` is in each, so there is no division by zero.
        let fitting = room.usable().checked_sub(once).map_or(0, |left| left / each);
        usize::try_from(fitting).unwrap_or(usize::MAX)
    }

    /// How many instances to make, of those that are asked for.
    ///
    /// # Errors
    /// [`Short`] when not even one fits.
    pub fn fit(self, room: Room, asked: usize) -> Result<usize, Short> {
        match self.instances(room) {
            0 => Err(Short { need: self, room }),
            fitting => Ok(fitting.min(asked.max(1))),
        }
    }

    /// Rows of the largest batch with which one instance fits; 0 when not even the weights do. Activations grow with the rows.
    #[must_use]
    pub fn rows_that_fit(self, room: Room) -> usize {
        let fixed = self.weights.saturating_add(HANDLES);
        let Some(left) = room.usable().checked_sub(fixed) else { return 0 };
        let row = self.activations.div_ceil(self.rows.max(1) as u64);
        let rows = left.checked_div(row).unwrap_or(u64::MAX);
        usize::try_from(rows).unwrap_or(usize::MAX).min(self.rows)
    }

    /// Bytes that are there once, and bytes of each instance.
    fn parts(self) -> (u64, u64) {
        let each = self.activations.saturating_add(HANDLES);
        if self.shared_weights { (self.weights, each) } else { (0, each.saturating_add(self.weights)) }
    }
}

/// Why not even one instance fits, with what can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// What is needed.
    pub need: Need,
    /// What is there.
    pub room: Room,
}

impl fmt::Display for Short {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { need, room } = *self;
        write!(
            formatter,
            "it needs {} (weights {}, {} for a batch of {}, {} for the libraries), and {} of the {} that are free may be used (of {} \
             in all); ",
            rounded(need.of(1)),
            rounded(need.weights),
            rounded(need.activations),
            need.rows,
            rounded(HANDLES),
            rounded(room.usable()),
            rounded(room.free),
            rounded(room.total),
        )?;
        match need.rows_that_fit(room) {
            0 => formatter.write_str("stop what else uses the device, or take a larger one"),
            rows => write!(formatter, "a max_batch of {rows} would fit"),
        }
    }
}

/// Mebibytes say enough; rounded up, so that a need is not told as less than it is.
fn rounded(bytes: u64) -> ByteSize {
    ByteSize(bytes.div_ceil(1 << 20) << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn need(weights: u64, activations: u64, shared_weights: bool) -> Need {
        Need { weights, activations, rows: 8, shared_weights }
    }

    #[test]
    fn instances_are_counted_with_their_weights_unless_they_share_them() {
        let room = Room { total: 20 * GIB, free: 11 * GIB };
        assert_eq!(room.usable(), 10 * GIB);
        // 4 GiB, 960 MiB and 64 MiB of handles are 5 GiB.
        assert_eq!(need(4 * GIB, 960 * MIB, false).instances(room), 2);
        assert_eq!(need(4 * GIB, 960 * MIB, true).instances(room), 6);
        assert_eq!(need(4 * GIB, 960 * MIB, true).fit(room, 3), Ok(3));
        assert_eq!(need(4 * GIB, 960 * MIB, false).fit(room, 3), Ok(2));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_figures_and_what_to_change() {
        let room = Room { total: 8 * GIB, free: 3 * GIB };
        let short = need(2 * GIB, 2 * GIB, false).fit(room, 1).unwrap_err();
        assert_eq!(
            short.to_string(),
            "it needs 4160Mi (weights 2Gi, 2Gi for a batch of 8, 64Mi for the libraries), and 2663Mi of the 3Gi that are free may be \
             used (of 8Gi in all); a max_batch of 2 would fit"
        );
        let short = need(3 * GIB, 0, true).fit(room, 1).unwrap_err().to_string();
        assert!(short.ends_with("stop what else uses the device, or take a larger one"), "{short}");
    }

    prop_compose! {
        fn any_need()(weights in 0..40 * GIB, activations in 0..20 * GIB, rows in 1_usize..256, shared_weights: bool) -> Need {
            Need { weights, activations, rows, shared_weights }
        }
    }

    prop_compose! {
        fn any_room()(total in 0..90 * GIB)(total in Just(total), free in 0..=total) -> Room {
            Room { total, free }
        }
    }

    proptest! {
        #[test]
        fn as_many_as_fit_and_no_more(need in any_need(), room in any_room(), asked in 0_usize..300) {
            match need.fit(room, asked) {
                Ok(fitting) => {
                    prop_assert!(fitting >= 1 && fitting <= asked.max(1));
                    prop_assert!(need.of(fitting) <= room.usable());
                    prop_assert!(fitting == asked.max(1) || need.of(fitting + 1) > room.usable());
                }
                Err(_) => prop_assert!(need.of(1) > room.usable()),
            }
        }

        #[test]
        fn more_room_never_fits_less_and_shared_weights_never_cost_more(need in any_need(), room in any_room(), more in 0..9 * GIB) {
            let larger = Room { free: room.free + more, ..room };
            prop_assert!(need.instances(larger) >= need.instances(room));
            let apart = Need { shared_weights: false, ..need };
            let shared = Need { shared_weights: true, ..need };
            prop_assert!(shared.instances(room) >= apart.instances(room));
        }

        #[test]
        fn the_batch_that_is_advised_fits(need in any_need(), room in any_room()) {
            let rows = need.rows_that_fit(room);
            prop_assert!(rows <= need.rows);
            let each = need.activations.div_ceil(need.rows as u64);
            let advised = Need { activations: each * rows as u64, rows, ..need };
            prop_assert!(rows == 0 || advised.fit(room, 1).is_ok());
        }
    }
}
