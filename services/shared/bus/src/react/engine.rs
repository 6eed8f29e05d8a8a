//! The loop that asks what is due, begins it, and stops it when it is due no more. One per replica of a service.

use super::{
    Actor, Done, DutyError, Scene,
    doorbell::{BEAT, Doorbell, Ring, listen},
    hold::{Hold, pause},
    metrics::{End, ReactMetrics, Started},
    work::{Ended, Reason, Running, work},
};
use crate::{
    connect::Bus,
    dead::DeadLetter,
    flags::IntegrityFlag,
    log::{Change, Folded, View},
    topology::{WorkConsumer, parse_nudge, rings},
    watched::Watched,
};
use futures::StreamExt as _;
use slipway_kernel::{DeploymentId, Due, Service, Slot, Timestamp};
use slipway_runtime::{CancellationToken, Frame};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// How often everything is looked at: what no message told is found within this.
const SWEEP: Duration = Duration::from_secs(30);
/// Rings that may wait for the loop, which takes microseconds for each.
const RINGS: usize = 256;
/// How long ended duties are waited for when the process ends; they are being dropped, which takes no time.
const LAST_DUTIES: Duration = Duration::from_secs(5);

pub(super) struct Engine<A: Actor> {
    bus: Bus,
    frame: Frame,
    view: View,
    flags: Watched<BTreeMap<DeploymentId, IntegrityFlag>>,
    actor: Arc<A>,
    service: Service,
    metrics: ReactMetrics,
    running: HashMap<DeploymentId, Running<A::Duty>>,
    /// Those that wait for a place, in order, with their doorbells.
    queue: VecDeque<(DeploymentId, Option<Doorbell>)>,
    holds: HashMap<DeploymentId, Hold<A::Duty>>,
    /// When to look again.
    wakes: HashMap<DeploymentId, Instant>,
    ended: mpsc::Sender<Ended>,
    ends: mpsc::Receiver<Ended>,
}

impl<A: Actor> Engine<A> {
    pub(super) fn new(
        bus: &Bus,
        frame: &Frame,
        view: View,
        flags: Watched<BTreeMap<DeploymentId, IntegrityFlag>>,
        actor: Arc<A>,
    ) -> Self {
        // Each running duty sends one, so none waits.
        let (ended, ends) = mpsc::channel(actor.max_running().max(1));
        Self {
            bus: bus.clone(),
            frame: frame.clone(),
            view,
            flags,
            service: actor.service(),
            actor,
            metrics: ReactMetrics::register(&frame.metrics),
            running: HashMap::new(),
            queue: VecDeque::new(),
            holds: HashMap::new(),
            wakes: HashMap::new(),
            ended,
            ends,
        }
    }

    pub(super) async fn run(mut self, mut nudges: async_nats::Subscriber) {
        let (sender, mut rings) = mpsc::channel(RINGS);
        let mut changes = self.view.changes();
        let mut flags = self.flags.clone();
        self.bus.background(listen(self.bus.clone(), self.view.clone(), WorkConsumer::Duties(self.service), sender));
        let mut sweep = tokio::time::interval(SWEEP);
        let mut beat = tokio::time::interval(BEAT);
        let shutdown = self.frame.shutdown.clone();
        loop {
            let wake = self.wakes.values().min().copied();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = self.ends.recv() => self.after(ended).await,
                Some(ring) = rings.recv() => self.rung(ring).await,
                change = changes.next() => self.changed(change).await,
                Some(nudge) = nudges.next() => self.nudged(&nudge.subject).await,
                true = flags.changed() => self.look_at_all().await,
                () = sleep_until(wake) => self.wake().await,
                _ = beat.tick() => self.beat().await,
                // The first tick is at once: a start is a sweep.
                _ = sweep.tick() => self.look_at_all().await,
            }
            self.measure();
        }
        self.stop().await;
    }

    async fn rung(&mut self, ring: Ring) {
        self.metrics.lag.set(i64::try_from(ring.pending).unwrap_or(i64::MAX));
        let hop = self.bus.clock().since_epoch().saturating_sub(ring.appended);
        self.metrics.hop.observe(hop.as_secs_f64());
        self.look(&ring.id, Reason::Rung(ring.doorbell)).await;
    }

    /// The doorbell rings for one replica; the others only look whether what they do is still wanted. Only a command is heard of
    /// here by all of them, since no doorbell can be made to ring for it.
    async fn changed(&mut self, change: Change) {
        match change {
            Change::Deployment { id, slot: Some(slot @ Slot::Command(_)) }
                if slot.concerns(self.service) && !rings(self.service, slot) =>
            {
                self.look(&id, Reason::Looked).await;
            }
            Change::Deployment { id, .. } => {
                if self.running.contains_key(&id) {
                    self.look(&id, Reason::Moved).await;
                }
            }
            Change::All => self.look_at_all().await,
        }
    }

    async fn nudged(&mut self, subject: &str) {
        if let Some(id) = parse_nudge(subject) {
            // Somebody wants it looked at now, whatever was waited for.
            self.holds.remove(&id);
            self.look(&id, Reason::Looked).await;
        }
    }

    async fn wake(&mut self) {
        let now = Instant::now();
        let due: Vec<DeploymentId> =
            self.wakes.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.wakes.remove(&id);
            self.look(&id, Reason::Looked).await;
        }
    }

    async fn look_at_all(&mut self) {
        for id in self.view.ids() {
            self.look(&id, Reason::Looked).await;
        }
    }

    async fn beat(&mut self) {
        for running in self.running.values_mut() {
            if let Some(doorbell) = &mut running.doorbell {
                doorbell.beat().await;
            }
        }
        for (_, doorbell) in &mut self.queue {
            if let Some(doorbell) = doorbell {
                doorbell.beat().await;
            }
        }
    }

    fn measure(&self) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.running.set(count(self.running.len()));
        self.metrics.waiting.set(count(self.queue.len()));
        self.metrics.held_back.set(count(self.holds.len()));
        self.metrics.flagged.set(count(self.flags.get().len()));
    }

    /// Asks what is due and sees to it. The doorbell is answered, or held by what it led to.
    async fn look(&mut self, id: &DeploymentId, reason: Reason) {
        let folded = self.view.get(id).filter(|_| !self.flags.get().contains_key(id));
        let now = self.bus.clock().now();
        let due = folded.as_ref().map_or(Due::Nothing, |folded| self.actor.due(&folded.deployment, now));
        match (due, folded) {
            (Due::Now(duty), Some(folded)) => self.wanted(id, duty, folded, reason).await,
            (Due::Wait(until), _) => {
                self.unwanted(id);
                self.wake_at(id, self.instant(now, until));
                done(reason.doorbell()).await;
            }
            (Due::Nothing | Due::Now(_), _) => {
                self.unwanted(id);
                self.wakes.remove(id);
                done(reason.doorbell()).await;
            }
        }
    }

    fn instant(&self, now: Timestamp, until: Timestamp) -> Instant {
        // A manual clock can say anything; looking once an hour too often costs nothing.
        Instant::now() + until.since(now).min(Duration::from_secs(3_600))
    }

    fn wake_at(&mut self, id: &DeploymentId, at: Instant) {
        self.wakes.insert(id.clone(), at);
    }

    fn unwanted(&mut self, id: &DeploymentId) {
        self.holds.remove(id);
        if let Some(running) = self.running.get(id) {
            running.cancel.cancel();
        }
    }

    async fn wanted(&mut self, id: &DeploymentId, duty: A::Duty, folded: Arc<Folded>, reason: Reason) {
        if let Some(running) = self.running.get_mut(id) {
            running.again |= !matches!(reason, Reason::Moved);
            if running.duty != duty {
                running.cancel.cancel();
            }
            return done(reason.doorbell()).await;
        }
        if self.is_held(id, &duty, folded.last_sequence) {
            return done(reason.doorbell()).await;
        }
        if self.running.len() >= self.actor.max_running() {
            return self.enqueue(id, reason.doorbell()).await;
        }
        self.begin(id, duty, folded, reason.doorbell());
    }

    /// Whether the duty must wait for its time; then it is woken at it.
    fn is_held(&mut self, id: &DeploymentId, duty: &A::Duty, last_sequence: u64) -> bool {
        let Some(hold) = self.holds.get(id) else { return false };
        if hold.applies(duty, last_sequence, Instant::now()) {
            if let Some(until) = hold.until {
                self.wake_at(id, until);
            }
            return true;
        }
        if hold.duty != *duty {
            self.holds.remove(id);
        }
        false
    }

    async fn enqueue(&mut self, id: &DeploymentId, doorbell: Option<Doorbell>) {
        match self.queue.iter_mut().find(|(waiting, _)| waiting == id) {
            Some((_, held)) if held.is_none() => *held = doorbell,
            Some(_) => done(doorbell).await,
            None => self.queue.push_back((id.clone(), doorbell)),
        }
    }

    fn begin(&mut self, id: &DeploymentId, duty: A::Duty, folded: Arc<Folded>, doorbell: Option<Doorbell>) {
        self.wakes.remove(id);
        let label = self.actor.label(&duty);
        self.metrics.started.get_or_create(&Started { duty: label }).inc();
        let last_sequence = folded.last_sequence;
        let scene = Scene::new(&self.bus, &self.view, id, folded, self.service);
        let cancel = CancellationToken::new();
        let work = work(Arc::clone(&self.actor), label, duty.clone(), scene, cancel.clone());
        let (ended, of) = (self.ended.clone(), id.clone());
        self.frame.tasks.spawn("duty", async move {
            let outcome = work.await;
            // Without the loop there is nobody to tell.
            let _ = ended.send(Ended { id: of, outcome }).await;
        });
        let running = Running { duty, label, doorbell, cancel, since: Instant::now(), last_sequence, again: false };
        self.running.insert(id.clone(), running);
    }

    async fn after(&mut self, ended: Ended) {
        let Some(running) = self.running.remove(&ended.id) else { return };
        self.metrics.seconds.observe(running.since.elapsed().as_secs_f64());
        match ended.outcome {
            None => {
                self.metrics.end(running.label, End::Cancelled);
                if running.again || running.doorbell.is_some() {
                    self.look(&ended.id, running.doorbell.into()).await;
                }
            }
            Some(outcome) => self.conclude(&ended.id, running, outcome).await,
        }
        while self.running.len() < self.actor.max_running() {
            let Some((id, doorbell)) = self.queue.pop_front() else { break };
            self.look(&id, doorbell.into()).await;
        }
    }

    async fn conclude(&mut self, id: &DeploymentId, running: Running<A::Duty>, outcome: Result<Done, DutyError>) {
        let times = self.holds.get(id).filter(|hold| hold.duty == running.duty).map_or(0, |hold| hold.times + 1);
        let until = pause(&outcome, times).map(|pause| Instant::now() + pause);
        match &outcome {
            Ok(Done::Elsewhere) => {
                self.metrics.end(running.label, End::Elsewhere);
                if let Err(error) = self.bus.nudge(self.service, id).await {
                    tracing::debug!(%error, "no nudge");
                }
            }
            Ok(_) => self.metrics.end(running.label, End::Finished),
            Err(error @ DutyError::Transient(_)) => {
                self.metrics.end(running.label, End::Transient);
                tracing::warn!(deployment = %id, duty = ?running.duty, %error, times, "a duty is tried again later");
            }
            Err(error @ DutyError::Permanent(_)) => {
                self.metrics.end(running.label, End::Permanent);
                tracing::error!(deployment = %id, duty = ?running.duty, %error, "a duty is given up");
                self.bury(id, &running.duty, error).await;
            }
        }
        match (&outcome, running.doorbell) {
            (Err(DutyError::Permanent(_)), Some(doorbell)) => doorbell.terminate().await,
            (_, doorbell) => done(doorbell).await,
        }
        let hold = Hold { duty: running.duty, until, times, last_sequence: running.last_sequence };
        self.holds.insert(id.clone(), hold);
        if let Some(until) = until {
            self.wake_at(id, until);
        }
        if running.again {
            self.look(id, Reason::Looked).await;
        }
    }

    async fn bury(&self, id: &DeploymentId, duty: &A::Duty, error: &DutyError) {
        let newest = self.view.get(id).and_then(|folded| {
            folded.deployment.facts().max_by_key(|fact| fact.sequence).map(|fact| crate::topology::fact(&fact.key))
        });
        let letter = DeadLetter {
            service: self.service.name().to_owned(),
            subject: newest.unwrap_or_else(|| crate::topology::facts_of(id)),
            headers: Vec::new(),
            payload: bytes::Bytes::from(format!("{duty:?}")),
            reason: error.to_string(),
        };
        if let Err(error) = self.bus.dead().put(&letter).await {
            tracing::error!(deployment = %id, %error, "the dead letter could not be written");
        }
    }

    /// Drops every duty. Held doorbells ring again elsewhere when their time is over.
    async fn stop(mut self) {
        for running in self.running.values() {
            running.cancel.cancel();
        }
        let mut left = self.running.len();
        let dropping = async {
            while left > 0 && self.ends.recv().await.is_some() {
                left -= 1;
            }
        };
        if tokio::time::timeout(LAST_DUTIES, dropping).await.is_err() {
            tracing::warn!(left, "duties did not end in time");
        }
    }
}

async fn done(doorbell: Option<Doorbell>) {
    if let Some(doorbell) = doorbell {
        doorbell.done().await;
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
