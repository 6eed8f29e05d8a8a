//! Requests that are left: taken from the stream that keeps them, put into the queue of a revision, and only then taken out of the stream.
//! What cannot be handled now comes again until its deadline; what never can is told to who wants to hear it, and kept as a dead letter.
//!
//! A replica may end at any point. Between queue and acknowledgement that is a second delivery under the same id: what the client gave, or
//! what follows from the place in the stream. The queue of the revision knows it again, or it is run twice and recorded once.

use super::{
    asked::NO_ADDRESS,
    data,
    message::{self, Incoming},
};
use crate::{
    auth::{Caller, Shown, credential},
    error::RequestError,
    limits::{DECODE_INLINE_BYTES, INBOUND_AT_ONCE, INBOUND_GRACE, INBOUND_PAUSE},
    observe, respond,
    routes::{
        enter::Before,
        head::Head,
        infer::{self, Deadline, Left},
    },
    stack::Ingress,
    telemetry::LeftOutcome,
    trail::Trail,
};
use http::{HeaderMap, HeaderName, StatusCode, Uri, header::AUTHORIZATION};
use prost::Message as _;
use slipway_bus::{Bus, DeadLetter, InboundQueue, InboundRequest, ReplySubject, topology::MAX_REPLY_BYTES};
use slipway_kernel::{DeploymentId, Service};
use slipway_oip::reply::Reply;
use slipway_proto::slipway::inference::v1::{InferenceResult, ReplyTo};
use slipway_runtime::CancellationToken;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

/// Where the answer is wanted. Not the message's own reply, where the broker puts its acknowledgement.
const REPLY_TO: HeaderName = HeaderName::from_static("slipway-reply-to");
/// In the place of a credential on what comes again from among the dead letters.
const VOUCHED: HeaderName = HeaderName::from_static("slipway-vouched");

/// How long one look into the stream waits. Draining waits for a look that is under way, so it is short.
const LOOK: Duration = Duration::from_millis(500);
/// The pause after a failure of the broker, doubled up to the second figure: how late its return is noticed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The door.
#[derive(Clone)]
pub(crate) struct Door {
    ingress: Arc<Ingress>,
    bus: Bus,
}

/// What became known of a request before it failed.
#[derive(Debug, Default)]
struct Known {
    reply: OnceLock<Wanted>,
    principal: OnceLock<String>,
}

/// Where and how an answer is wanted.
#[derive(Clone, Debug)]
struct Wanted {
    at: ReplySubject,
    as_document: bool,
}

impl Wanted {
    /// The same for the worker.
    fn message(&self) -> ReplyTo {
        ReplyTo { subject: self.at.to_string(), json: self.as_document }
    }
}

impl Door {
    pub(crate) const fn new(ingress: Arc<Ingress>, bus: Bus) -> Self {
        Self { ingress, bus }
    }

    /// Passes requests on until the shutdown, and then what is in hand.
    pub(super) async fn serve(self, shutdown: &CancellationToken) {
        let (tracker, places) = (TaskTracker::new(), Arc::new(Semaphore::new(INBOUND_AT_ONCE)));
        let mut pause = PAUSE.0;
        while !shutdown.is_cancelled() {
            match self.bus.inbound().consume().await {
                Ok(queue) => {
                    pause = PAUSE.0;
                    self.consume(&queue, &places, &tracker, shutdown).await;
                }
                Err(error) => warn!(%error, "requests that were left cannot be taken yet"),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE.1),
            }
        }
        tracker.close();
        tracker.wait().await;
    }

    /// Returns when the stream must be opened anew, or at the shutdown.
    async fn consume(
        &self,
        queue: &InboundQueue,
        places: &Arc<Semaphore>,
        tracker: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        while !shutdown.is_cancelled() {
            // Nobody closes the semaphore.
            let Ok(first) = places.acquire().await else { return };
            let room = places.available_permits() + 1;
            drop(first);
            // Not raced against the shutdown: what is delivered while nobody listens would lie still until its time is over.
            let taken = match queue.next(room, LOOK).await {
                Ok(taken) => taken,
                Err(error) => return warn!(%error, "the stream of requests that were left gave nothing"),
            };
            for request in taken {
                let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
                let door = self.clone();
                tracker.spawn(async move {
                    door.handle(request).await;
                    drop(place);
                });
            }
        }
    }

    async fn handle(&self, request: InboundRequest) {
        let later = self.settle(&request).await;
        let told = match later {
            None => request.ack().await,
            Some(pause) => request.give_back(pause).await,
        };
        if let Err(error) = told {
            debug!(%error, "the broker could not be told what became of a request; it comes again");
        }
    }

    /// Deals with a request; after which pause it is to come again, if it is.
    pub(crate) async fn settle(&self, request: &InboundRequest) -> Option<Duration> {
        let (begun, known) = (Instant::now(), Known::default());
        let headers = message::headers(&request.headers);
        let trail = observe::trail_of_message(headers.as_ref().unwrap_or(&HeaderMap::new()), &request.subject);
        trail.is_inference();
        let done = match headers {
            Ok(headers) => observe::caught(&trail, self.work(request, &headers, &trail, &known)).await,
            Err(error) => Err(error),
        };
        let (outcome, status) = match &done {
            Err(error) if self.comes_again(error, request) => return Some(self.later(error, request)),
            Err(error) => {
                debug!(subject = request.subject, %error, "a request that was left is refused");
                if !self.bury(request, error, &known).await {
                    return Some(self.later(error, request));
                }
                self.answer(&known, message::told(respond::reply(error), &trail)).await;
                (LeftOutcome::Refused, respond::verdict(error).status)
            }
            Ok(Left::Queued) => (LeftOutcome::Queued, StatusCode::ACCEPTED.as_u16()),
            Ok(Left::Recorded(recorded)) => {
                self.repeat(&known, recorded).await;
                (LeftOutcome::Repeated, StatusCode::OK.as_u16())
            }
        };
        trail.record(status);
        self.ingress.metrics.left(outcome);
        if let Some(subject) = trail.subject() {
            self.ingress.metrics.answered(&subject, status, begun.elapsed());
        }
        None
    }

    fn later(&self, error: &RequestError, request: &InboundRequest) -> Duration {
        debug!(subject = request.subject, attempt = request.attempt, %error, "a request that was left comes again");
        self.ingress.metrics.left(LeftOutcome::ComesAgain);
        pause(error, request.attempt)
    }

    async fn work(
        &self,
        request: &InboundRequest,
        headers: &HeaderMap,
        trail: &Trail,
        known: &Known,
    ) -> Result<Left, RequestError> {
        let ingress = &*self.ingress;
        let deployment = request.deployment.as_ref();
        let deployment = deployment.ok_or_else(|| RequestError::UnknownDeployment(request.subject.clone()))?;
        let mut held = ingress.admission.bodies.share();
        let reply = reply_to(headers, deployment)?;
        if let Some(at) = reply {
            let as_document = message::is_document(headers).unwrap_or_default();
            // Set once: this is called once for each delivery.
            let _ = known.reply.set(Wanted { at, as_document });
        }
        // Before the payload is looked at: one that ends the process would otherwise do so for as long as the stream keeps it.
        let head = Head::of_message(headers)?;
        let deadline = Deadline::of_left(&head, request.at, trail, ingress)?;
        let payload = data::payload(&self.bus, deployment, headers, request.payload.clone(), &mut held).await?;
        let mut incoming = Incoming::read(deployment, headers, head, payload)?;
        let before = Before::find(ingress, &incoming.address, trail)?;
        let caller = self.caller(request, headers, deployment, &before, trail).await?;
        if caller.prober.is_none() {
            let _ = known.principal.set(caller.principal.clone());
        }
        if !before.rules.nats {
            return Err(RequestError::NatsClosed(deployment.clone()));
        }
        let visit = before.admit(&incoming.address, caller, trail)?;
        let principal = &visit.caller.principal;
        incoming.head.ticket = Some(ingress.tickets.of_place(request.sequence, request.at, deployment, principal));
        let reply_to = known.reply.get().map(Wanted::message);
        infer::left(ingress, trail, visit, incoming.head, deadline, incoming.wire, reply_to).await
    }

    /// Who left the request, by the credential that was good when it was left.
    async fn caller(
        &self,
        request: &InboundRequest,
        headers: &HeaderMap,
        deployment: &DeploymentId,
        before: &Before,
        trail: &Trail,
    ) -> Result<Caller, RequestError> {
        let vouched = headers.get(&VOUCHED).and_then(|vouch| vouch.to_str().ok());
        let payload = data::vouched(&request.payload, headers);
        let vouched = vouched.and_then(|vouch| self.ingress.tickets.vouched(vouch, deployment, &payload));
        if let Some(principal) = vouched {
            return Ok(Caller { principal: principal.to_owned(), prober: None });
        }
        let shown = Shown { headers, uri: &Uri::default(), peer: NO_ADDRESS, arrived: trail.arrived };
        self.ingress.authenticator.caller(shown, deployment, &before.rules, request.at).await
    }

    /// Whether the request may be handled later although it cannot be now.
    fn comes_again(&self, error: &RequestError, request: &InboundRequest) -> bool {
        match error {
            RequestError::QueueFull(_)
            | RequestError::QueueUnavailable(_)
            | RequestError::NothingServes(_)
            | RequestError::KeysUnavailable
            | RequestError::RateLimited { .. }
            | RequestError::Overloaded { .. } => true,
            // Who deploys and then asks may be faster than this replica's view of the log.
            RequestError::UnknownDeployment(_) | RequestError::NatsClosed(_) => {
                self.ingress.clock.now().since(request.at) < INBOUND_GRACE
            }
            _ => false,
        }
    }

    /// Keeps a request for a person, with the reason and without its credential; whether that is done.
    async fn bury(&self, request: &InboundRequest, error: &RequestError, known: &Known) -> bool {
        let is_kept = |name: &str| {
            let name = name.to_ascii_lowercase();
            let is_secret = [AUTHORIZATION.as_str(), credential::API_KEY, credential::PROBE].contains(&name.as_str());
            // What steers the broker would steer the write by which it comes again.
            let steers = name.starts_with("nats-") && name != "nats-msg-id";
            !is_secret && !steers
        };
        let mut headers: Vec<(String, String)> =
            request.headers.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
        if let (Some(deployment), Some(principal)) = (&request.deployment, known.principal.get()) {
            // A principal is known of what has headers.
            let payload = data::vouched(&request.payload, &message::headers(&request.headers).unwrap_or_default());
            let vouch = self.ingress.tickets.vouch(deployment, principal, &payload);
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case(VOUCHED.as_str()));
            headers.push((VOUCHED.to_string(), vouch));
        }
        let letter = DeadLetter {
            service: Service::Ingress.name().to_owned(),
            subject: request.subject.clone(),
            headers,
            payload: request.payload.clone(),
            reason: format!("{}: {error}", respond::verdict(error).code),
        };
        let buried = self.bus.dead().put(&letter).await;
        if let Err(error) = &buried {
            error!(subject = request.subject, %error, "a dead letter could not be written; the request comes again");
        }
        buried.is_ok()
    }

    /// Tells what was recorded when the request came before.
    async fn repeat(&self, known: &Known, recorded: &[u8]) {
        let Some(wanted) = known.reply.get() else { return };
        let result = match InferenceResult::decode(recorded) {
            Ok(result) => result,
            Err(error) => return error!(%error, "a recorded result cannot be read"),
        };
        let as_document = wanted.as_document;
        if !as_document || recorded.len() <= DECODE_INLINE_BYTES {
            return self.answer(known, Reply::recorded(&result, as_document)).await;
        }
        match tokio::task::spawn_blocking(move || Reply::recorded(&result, as_document)).await {
            Ok(reply) => self.answer(known, reply).await,
            Err(error) => error!(%error, "an answer could not be written"),
        }
    }

    async fn answer(&self, known: &Known, reply: Reply) {
        let Some(wanted) = known.reply.get() else { return };
        let reply = reply.within(MAX_REPLY_BYTES);
        if let Err(error) = self.bus.replies().send(&wanted.at, &reply.headers, reply.payload).await {
            debug!(%error, "an answer could not be sent");
        }
    }
}

/// The subject that a client wants its answer at.
fn reply_to(headers: &HeaderMap, deployment: &DeploymentId) -> Result<Option<ReplySubject>, RequestError> {
    let mut values = headers.get_all(&REPLY_TO).iter();
    let (Some(value), second) = (values.next(), values.next()) else { return Ok(None) };
    let found = String::from_utf8_lossy(value.as_bytes());
    let path = format!("header.{REPLY_TO}");
    if second.is_some() {
        return Err(RequestError::invalid(path, "given twice", "one subject"));
    }
    let read = ReplySubject::read(&found, &deployment.namespace);
    read.map(Some).map_err(|allowed| RequestError::invalid(path, found, allowed))
}

/// How long a request waits before it comes again: as long as a rate limit says, else twice as long each time.
fn pause(error: &RequestError, attempt: u64) -> Duration {
    let (least, most) = INBOUND_PAUSE;
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let grown = least.saturating_mul(1 << doublings);
    let asked = if let RequestError::RateLimited { retry_after } = error { *retry_after } else { Duration::ZERO };
    grown.max(asked).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_again_less_and_less_often_and_never_before_a_rate_limit_lets_it() {
        let full = RequestError::Overloaded { bound: "x" };
        assert_eq!(pause(&full, 1), INBOUND_PAUSE.0);
        assert_eq!(pause(&full, 3), INBOUND_PAUSE.0 * 4);
        assert_eq!(pause(&full, 100), INBOUND_PAUSE.1);
        let limited = RequestError::RateLimited { retry_after: Duration::from_secs(5) };
        assert_eq!(pause(&limited, 1), Duration::from_secs(5));
        assert_eq!(pause(&RequestError::RateLimited { retry_after: Duration::from_secs(3_600) }, 1), INBOUND_PAUSE.1);
    }

    #[test]
    fn an_answer_is_wanted_at_one_inbox_or_at_none() {
        let id: DeploymentId = "team.digits".parse().unwrap();
        let of = |given: &[(&str, &str)]| {
            let pairs: Vec<_> = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            reply_to(&message::headers(&pairs).unwrap(), &id)
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[("Slipway-Reply-To", "_INBOX.x")]).unwrap().unwrap().as_str(), "_INBOX.x");
        for given in [
            &[("slipway-reply-to", "$JS.API.STREAM.DELETE.LIFECYCLE")][..],
            &[("slipway-reply-to", "_SLIPWAY_CLIENT.other.shop.x")],
            &[("slipway-reply-to", "_INBOX.x"), ("slipway-reply-to", "_INBOX.y")],
        ] {
            let Err(RequestError::Invalid(refusals)) = of(given) else { panic!("{given:?}") };
            assert_eq!(refusals.0[0].path, "header.slipway-reply-to");
        }
    }
}
