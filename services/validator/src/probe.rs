//! The workload of the validator: requests to the revision, each followed to its end.

use crate::{
    domain::judge::overload::Manners,
    door::{Door, Fate},
    follow::Followed,
};
use bytes::Bytes;
use slipway_loadtest::{FailureClass, Judgement, Reply, Request, Workload};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Every so many-th answer is kept to be compared with the quiet one.
const SAMPLING: u64 = 4;
/// The most answers kept per phase: enough to catch a batcher that mixes rows up, little enough to compare in milliseconds.
const MAX_SAMPLES: usize = 256;

/// An answer under load: which body was sent, and what came.
pub(crate) type Sample = (usize, Bytes);

/// One phase of load.
pub(crate) struct Probe {
    door: Door,
    bodies: Arc<[Bytes]>,
    followed: Arc<Followed>,
    /// How long its requests may take, if not as long as the deployment allows.
    timeout: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Numbers in the run of the requests under way, by their numbers in the phase.
    numbers: HashMap<u64, u64>,
    manners: Manners,
    rude: BTreeMap<String, u64>,
    samples: Vec<Sample>,
}

impl Probe {
    /// A phase that sends `bodies` in turn; there is at least one.
    pub(crate) fn new(door: &Door, bodies: &Arc<[Bytes]>, followed: &Arc<Followed>) -> Self {
        let (bodies, followed) = (Arc::clone(bodies), Arc::clone(followed));
        Self { door: door.clone(), bodies, followed, timeout: None, state: Mutex::default() }
    }

    /// The same with less time for each request.
    #[must_use]
    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn body_of(&self, n: u64) -> usize {
        usize::try_from(n % self.bodies.len().max(1) as u64).unwrap_or(0)
    }

    fn ended(&self, n: u64, fate: &Fate, class: Option<FailureClass>) {
        let mut state = self.state();
        if let Some(number) = state.numbers.remove(&n) {
            self.followed.ended(number, fate);
        }
        match fate {
            Fate::Answered(_) => state.manners.ok += 1,
            Fate::Refused { retry_after, .. } => {
                state.manners.refused += 1;
                state.manners.without_retry_after += u64::from(!retry_after);
            }
            Fate::Misrouted => *state.rude.entry("answered by another revision".to_owned()).or_default() += 1,
            Fate::NotAdmitted(_) | Fate::Fault(_) | Fate::None(_) => {
                let class = class.map_or_else(|| "unknown".to_owned(), |class| class.to_string());
                *state.rude.entry(class).or_default() += 1;
            }
        }
    }

    /// How the requests fared.
    pub(crate) fn manners(&self) -> Manners {
        let state = self.state();
        let rude = state.rude.iter().map(|(class, count)| (class.clone(), *count)).collect();
        Manners { rude, ..state.manners.clone() }
    }

    /// Answers to be compared with the quiet ones.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        std::mem::take(&mut self.state().samples)
    }
}

impl Workload for Probe {
    fn request(&self, n: u64) -> Request {
        let number = self.followed.next();
        let mut state = self.state();
        state.numbers.insert(n, number);
        state.manners.sent += 1;
        drop(state);
        let body = self.bodies.get(self.body_of(n)).cloned().unwrap_or_default();
        let request = self.door.request(body, self.followed.is_followed(number));
        match self.timeout {
            Some(timeout) => Door::within(request, timeout),
            None => request,
        }
    }

    fn judge(&self, n: u64, reply: &Reply) -> Judgement {
        let fate = self.door.fate(reply);
        let judgement = match &fate {
            Fate::Misrouted => Judgement::Failed(FailureClass::Wrong),
            _ => Judgement::by_status(reply.status),
        };
        let class = match judgement {
            Judgement::Failed(class) => Some(class),
            Judgement::Answered => None,
        };
        self.ended(n, &fate, class);
        if class.is_none() && n.is_multiple_of(SAMPLING) {
            let mut state = self.state();
            if state.samples.len() < MAX_SAMPLES {
                state.samples.push((self.body_of(n), reply.body.clone()));
            }
        }
        judgement
    }

    fn unanswered(&self, n: u64, class: FailureClass) {
        self.ended(n, &Fate::None(class), Some(class));
    }
}
