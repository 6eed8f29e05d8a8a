//! `…/infer`: the hot path, top to bottom.

use super::{
    address::Address,
    enter::{Visit, enter, shown},
    head::Head,
    later,
    prepare::{Prepared, has_moved, prepare},
    wire::Wire,
};
use crate::{
    auth::Shown,
    body,
    cache::{Answers, Kept, Key},
    error::RequestError,
    recording, respond,
    stack::Ingress,
    trail::Trail,
    upstream::{self, Answer, Call, Ended, Hedged},
};
use axum::{
    Extension,
    body::Body,
    extract::{ConnectInfo, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::Response,
};
use bytes::Bytes;
use slipway_kernel::{Refusals, RequestId, Timestamp, spec::Record};
use slipway_oip::{
    events,
    json::{self, Written},
};
use slipway_proto::{inference::ModelInferResponse, slipway::inference::v1::ReplyTo};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Answers an inference request, as an event where its sender wants that.
///
/// # Errors
/// Why it has no answer.
pub async fn infer(
    State(ingress): State<Arc<Ingress>>,
    Extension(trail): Extension<Arc<Trail>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, RequestError> {
    let address = Address::read(params, request.headers());
    addressed(&ingress, &trail, peer, address, request).await
}

/// The same to what its path was read as, which does without a router.
///
/// # Errors
/// As [`infer`].
pub async fn addressed(
    ingress: &Ingress,
    trail: &Trail,
    peer: SocketAddr,
    address: Result<Address, RequestError>,
    request: Request,
) -> Result<Response, RequestError> {
    let wants_event = events::are_wanted(request.headers());
    trail.is_inference();
    let response = document(ingress, trail, peer, address?, request).await?;
    Ok(if wants_event { events::of(response).map(Body::new) } else { response })
}

async fn document(
    ingress: &Ingress,
    trail: &Trail,
    peer: SocketAddr,
    address: Address,
    request: Request,
) -> Result<Response, RequestError> {
    let (parts, body) = request.into_parts();
    // Whose it is and who asks, before anything else is looked at: a stranger learns nothing from how the rest is refused.
    let visit = enter(ingress, &address, shown(&parts, peer, trail), trail).await?;
    // How it is to be answered.
    let mut head = Head::read(&parts.headers)?;
    if head.respond_async {
        head.ticket = Some(ingress.tickets.issue(&address.deployment, &visit.caller.principal));
    }
    let encoding = body::check_media_type(&parts.headers)?;
    let deadline = Deadline::of(&head, &visit, trail, ingress);
    // The body, bounded in size, time and memory.
    let limit = visit.rules.max_body;
    let body = body::read(&parts.headers, body, limit, deadline.at, &ingress.admission.bodies).await?;
    let body = body.unpack(encoding, limit).await?;
    let parts = slipway_oip::http::parts(&parts.headers, body.bytes.clone())
        .map_err(|refusal| RequestError::Invalid(Refusals(vec![refusal])))?;
    let wire = Wire::Body { whole: body.bytes.clone(), parts };
    // Against the signature of the revision it leads to.
    let prepared = prepare(&visit, &head, None, &wire).await?;
    let request = Admitted { ingress, trail, visit, head, deadline, wire };
    request.learn(&prepared);
    if request.head.respond_async {
        return later::leave(&request, prepared).await;
    }
    if let Some(recorded) = later::replay(&request, &prepared).await? {
        return later::replayed(trail, &recorded).await;
    }
    let (response, forms) = request.answer(prepared).await?;
    written(&response, &forms).await.map(respond::written)
}

/// Answers an inference request that came as a message, by whatever wire.
///
/// # Errors
/// Why it has no answer.
pub async fn message(
    ingress: &Ingress,
    trail: &Trail,
    address: &Address,
    shown: Shown<'_>,
    timeout: Option<Duration>,
    wire: Wire,
) -> Result<ModelInferResponse, RequestError> {
    let visit = enter(ingress, address, shown, trail).await?;
    let mut head = Head::read(shown.headers)?;
    head.timeout = head.timeout.or(timeout);
    now(ingress, trail, visit, head, wire).await.map(|(response, _)| response)
}

/// Answers a request that was let in, with the forms in which its outputs are wanted.
///
/// # Errors
/// Why it has no answer.
pub async fn now(
    ingress: &Ingress,
    trail: &Trail,
    visit: Visit,
    head: Head,
    wire: Wire,
) -> Result<(ModelInferResponse, Vec<bool>), RequestError> {
    check_size(&wire, &visit)?;
    let deadline = Deadline::of(&head, &visit, trail, ingress);
    let prepared = prepare(&visit, &head, None, &wire).await?;
    let request = Admitted { ingress, trail, visit, head, deadline, wire };
    request.learn(&prepared);
    if let Some(recorded) = later::replay(&request, &prepared).await? {
        return Ok((later::recorded_response(trail, &recorded)?, Vec::new()));
    }
    request.answer(prepared).await
}

/// What became of a request that its client left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// It is in the queue of its revision.
    Queued,
    /// It came before, and this is what was recorded then.
    Recorded(Bytes),
}

/// Puts a request that was let in into the queue of the revision that it leads to.
///
/// # Errors
/// Why it is not there.
pub async fn left(
    ingress: &Ingress,
    trail: &Trail,
    visit: Visit,
    head: Head,
    deadline: Deadline,
    wire: Wire,
    reply_to: Option<ReplyTo>,
) -> Result<Left, RequestError> {
    check_size(&wire, &visit)?;
    let prepared = prepare(&visit, &head, None, &wire).await?;
    let request = Admitted { ingress, trail, visit, head, deadline, wire };
    request.learn(&prepared);
    let standing = later::standing(&request, &prepared.request_id).await?;
    if standing == later::Standing::Known
        && let Some(recorded) = later::recorded(&request, &prepared.request_id).await?
    {
        return Ok(Left::Recorded(recorded));
    }
    later::queue(&request, prepared, standing, reply_to).await.map(|()| Left::Queued)
}

fn check_size(wire: &Wire, visit: &Visit) -> Result<(), RequestError> {
    let limit = visit.rules.max_body;
    if wire.bytes() > limit { Err(RequestError::BodyTooLarge { limit }) } else { Ok(()) }
}

/// Until when an answer is of use.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub(super) at: Instant,
    pub(super) unix_ms: u64,
    pub(super) accepted: Timestamp,
}

impl Deadline {
    fn of(head: &Head, visit: &Visit, trail: &Trail, ingress: &Ingress) -> Self {
        let usual = if head.respond_async { ingress.limits.async_timeout.0 } else { visit.rules.timeout };
        let timeout = head.timeout.unwrap_or(usual);
        let accepted = ingress.clock.now();
        // A queued request is read in the usual time, whatever time it has to be answered.
        let reading = if head.respond_async { visit.rules.timeout } else { timeout };
        Self { at: trail.arrived + reading, unix_ms: accepted.after(timeout).0, accepted }
    }

    /// That of a request which was left at `accepted`, however late it is looked at.
    ///
    /// # Errors
    /// [`RequestError::DeadlineExceeded`].
    pub fn of_left(head: &Head, accepted: Timestamp, trail: &Trail, ingress: &Ingress) -> Result<Self, RequestError> {
        let ends = accepted.after(head.timeout.unwrap_or(ingress.limits.async_timeout.0));
        match ends.since(ingress.clock.now()) {
            Duration::ZERO => Err(RequestError::DeadlineExceeded),
            left => Ok(Self { at: trail.arrived + left, unix_ms: ends.0, accepted }),
        }
    }
}

/// A request that was let in, read, and fits its model.
pub(super) struct Admitted<'a> {
    pub(super) ingress: &'a Ingress,
    pub(super) trail: &'a Trail,
    pub(super) visit: Visit,
    pub(super) head: Head,
    pub(super) deadline: Deadline,
    pub(super) wire: Wire,
}

impl Admitted<'_> {
    /// What the client sees as one piece of work: what it says, or this request alone.
    pub(super) fn correlation_id(&self, request_id: &RequestId) -> String {
        self.head.correlation_id.clone().unwrap_or_else(|| request_id.to_string())
    }

    fn learn(&self, prepared: &Prepared) {
        self.trail.ids(&prepared.request_id, &self.correlation_id(&prepared.request_id));
        self.trail.revision(prepared.target.revision);
    }

    /// Waits for room, sends it to a worker, and gives its answer, with the forms in which the outputs are wanted. If the route
    /// moves meanwhile, so does the request.
    async fn answer(mut self, mut prepared: Prepared) -> Result<(ModelInferResponse, Vec<bool>), RequestError> {
        let mut lookup = self.lookup(&prepared);
        if let Some(answer) = lookup.as_ref().and_then(|lookup| lookup.found(&prepared)) {
            self.trail.cached(true);
            let call = self.call(&prepared);
            return self.record(&prepared, call, answer).await.map(|response| (response, prepared.forms));
        }
        let places = match self.visit.caller.prober {
            Some(_) => &self.visit.door.state.probes,
            None => &self.visit.door.state.permits,
        };
        let _place = places.acquire(self.deadline.at).await?;
        let _of_all = self.ingress.admission.all.acquire(self.deadline.at).await?;
        loop {
            let begun = Instant::now();
            let call = self.call(&prepared);
            let result = match self.send(&prepared, &call).await {
                Ended::Answer(answer) => {
                    self.ingress.metrics.hedged(&call.deployment, answer.hedged);
                    if let Some(lookup) = &lookup {
                        self.trail.cached(false);
                        lookup.keep(&answer);
                    }
                    self.record(&prepared, call, *answer).await
                }
                Ended::Failed(error) => Err(error),
                Ended::Moved => {
                    let id = &self.visit.door.entry.id;
                    if let Some(door) = self.ingress.routing.load().door(id) {
                        self.visit.door = Arc::clone(door);
                    }
                    prepared = prepare(&self.visit, &self.head, Some(&prepared.request_id), &self.wire).await?;
                    self.learn(&prepared);
                    lookup = self.lookup(&prepared);
                    continue;
                }
            };
            self.count(&prepared, result.as_ref().err(), begun.elapsed());
            return result.map(|response| (response, prepared.forms));
        }
    }

    /// Where the answer may be kept, if the deployment wants that and the request is a client's.
    fn lookup(&self, prepared: &Prepared) -> Option<Lookup> {
        prepared.target.rules.cache?;
        if self.visit.caller.prober.is_some() {
            return None;
        }
        let answers = self.visit.door.state.answers.load_full()?;
        Some(Lookup { answers, key: Key::of(prepared.target.revision, &prepared.message)? })
    }

    /// A client that names its request for repetition is answered only with what a repetition would find.
    async fn record(
        &self,
        prepared: &Prepared,
        call: Call,
        answer: Answer,
    ) -> Result<ModelInferResponse, RequestError> {
        let when = if self.head.idempotency_key.is_some() { Record::BeforeReply } else { prepared.target.rules.record };
        recording::record(self.ingress, when, call, &prepared.target, answer).await
    }

    fn call(&self, prepared: &Prepared) -> Call {
        Call {
            deployment: self.visit.door.entry.id.clone(),
            revision: prepared.target.revision,
            request_id: prepared.request_id.clone(),
            correlation_id: self.correlation_id(&prepared.request_id),
            principal: self.visit.caller.principal.clone(),
            probe: self.visit.caller.prober.is_some(),
            deadline: self.deadline.at,
            deadline_unix_ms: self.deadline.unix_ms,
            accepted_unix_ms: self.deadline.accepted.0,
            traceparent: self.trail.traceparent.clone(),
            hedge_after: prepared.target.rules.hedge_after,
        }
    }

    async fn send(&self, prepared: &Prepared, call: &Call) -> Ended {
        let named = self.visit.named.is_some();
        upstream::infer(
            &self.ingress.pool,
            &self.ingress.routing,
            &self.visit.door.state,
            self.ingress.worker_wait,
            call,
            &prepared.message,
            |table| has_moved(table, &call.deployment, named, &prepared.request_id, &prepared.target),
        )
        .await
    }

    /// For the controller, who lets a shift go on or not by how the revisions do with the traffic of clients.
    fn count(&self, prepared: &Prepared, error: Option<&RequestError>, took: Duration) {
        let failed = error.is_some_and(|error| respond::verdict(error).status >= 500);
        if self.visit.caller.prober.is_none()
            && let Some(counts) = self.visit.door.counts.get(&prepared.target.revision)
        {
            counts.record(failed, took);
        }
    }
}

/// The place of a request among kept answers.
struct Lookup {
    answers: Arc<Answers>,
    key: Key,
}

impl Lookup {
    /// The kept answer, as one to this request.
    fn found(&self, prepared: &Prepared) -> Option<Answer> {
        let Kept { response, instance } = self.answers.get(&self.key)?;
        let response = ModelInferResponse { id: prepared.message.id.clone(), ..response };
        Some(Answer { response, instance: instance.to_string(), attempt: 0, hedged: Hedged::No })
    }

    fn keep(&self, answer: &Answer) {
        self.answers.put(self.key, Kept::of(&answer.response, &answer.instance));
    }
}

/// The answer in the form that was asked for; a large document is written on a thread that may block.
pub(crate) async fn written(response: &ModelInferResponse, forms: &[bool]) -> Result<Written, RequestError> {
    let answer = slipway_oip::Response::of(response).map_err(|error| RequestError::BadAnswer(error.into()))?;
    let write = |answer: &slipway_oip::Response, forms: &[bool]| {
        json::write(answer, forms).map_err(|error| RequestError::BadAnswer(error.into()))
    };
    if answer.bytes_in_text(forms) <= crate::limits::DECODE_INLINE_BYTES {
        return write(&answer, forms);
    }
    let forms = forms.to_vec();
    let done = tokio::task::spawn_blocking(move || write(&answer, &forms)).await;
    done.map_err(|error| RequestError::Internal(error.into()))?
}
