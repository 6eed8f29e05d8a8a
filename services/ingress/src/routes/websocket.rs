//! `…/stream`: many requests on one WebSocket, each of them let in, limited, counted and recorded as if it had come alone.

use super::{
    address::Address,
    enter::{enter, shown},
    head::Head,
    infer,
    wire::Wire,
};
use crate::{
    auth::Shown,
    error::RequestError,
    limits, observe, respond,
    stack::Ingress,
    trail::{REQUEST_ID, Trail},
};
use axum::{
    Extension,
    extract::{ConnectInfo, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, Uri};
use slipway_oip::{stream::UNDER_WAY, talk};
use slipway_runtime::websocket::{Answer, CloseCode, Limits, NoTalk};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Opens a talk with who may ask the model.
///
/// # Errors
/// Why it is not opened.
pub async fn open(
    State(ingress): State<Arc<Ingress>>,
    Extension(trail): Extension<Arc<Trail>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, RequestError> {
    let (parts, body) = request.into_parts();
    let address = Address::read(params, &parts.headers)?;
    let visit = enter(&ingress, &address, shown(&parts, peer, &trail), &trail).await?;
    let headers = headers(&parts.headers)?;
    let bounds = Limits { message: visit.rules.max_body, under_way: UNDER_WAY };
    let talk = Arc::new(Talk { ingress, address, headers, uri: parts.uri.clone(), peer, trail });
    let hold = hold(&talk.ingress);
    let sockets = talk.ingress.websockets.clone();
    let accepted = sockets.accept(Request::from_parts(parts, body), bounds, hold, move |text| {
        let talk = Arc::clone(&talk);
        async move { talk.answer(text).await }
    });
    accepted.map_err(|refused| match refused {
        NoTalk::Handshake(refusals) => RequestError::Invalid(refusals),
        NoTalk::Full(_) => RequestError::Overloaded { bound: "WebSockets at once" },
    })
}

/// The headers that hold for each request of the talk.
fn headers(given: &HeaderMap) -> Result<HeaderMap, RequestError> {
    for name in [REQUEST_ID.as_str(), "idempotency-key"] {
        if given.contains_key(name) {
            let allowed = "none on a WebSocket: each of its messages names its request by its id";
            return Err(RequestError::invalid(format!("header.{name}"), "given", allowed));
        }
    }
    let mut headers = given.clone();
    // What a proxy calls the talk is the name of none of its requests.
    headers.remove("x-request-id");
    let head = Head::read(&headers)?;
    if head.respond_async {
        return Err(RequestError::invalid("header.prefer", "respond-async", "no preference on a WebSocket"));
    }
    Ok(headers)
}

/// Counts the memory of a message while it comes.
fn hold(ingress: &Ingress) -> Box<dyn FnMut(usize) -> bool + Send> {
    let memory = ingress.admission.bodies.clone();
    let share = Mutex::new((memory.share(), 0));
    Box::new(move |bytes| {
        let mut held = share.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes < held.1 {
            // Another message: what the last one held is held by who works on it.
            held.0 = memory.share();
        }
        held.1 = bytes;
        held.0.cover(bytes).is_ok()
    })
}

/// A talk with a client.
struct Talk {
    ingress: Arc<Ingress>,
    address: Address,
    headers: HeaderMap,
    uri: Uri,
    peer: SocketAddr,
    trail: Arc<Trail>,
}

impl Talk {
    async fn answer(&self, text: String) -> Answer {
        let document = Bytes::from(text);
        let trail = Arc::new(observe::trail_on(&self.trail));
        let work = self.work(&trail, document.clone());
        match observe::one(&self.ingress.metrics, &trail, work).await {
            Ok(text) => Answer { text, ends: None },
            Err(error) => Self::refusal(&error, &document),
        }
    }

    async fn work(&self, trail: &Trail, document: Bytes) -> Result<String, RequestError> {
        let mut held = self.ingress.admission.bodies.share();
        held.cover(document.len())?;
        let shown = Shown { headers: &self.headers, uri: &self.uri, peer: self.peer.ip(), arrived: trail.arrived };
        let wire = Wire::Body { whole: document.clone(), parts: talk::parts(document) };
        let response = infer::message(&self.ingress, trail, &self.address, shown, None, wire).await?;
        let written = infer::written(&response, &[]).await?;
        // JSON is text.
        String::from_utf8(written.document.into()).map_err(|error| RequestError::BadAnswer(error.into()))
    }

    fn refusal(error: &RequestError, document: &[u8]) -> Answer {
        let (_, sentence) = respond::word(error);
        let verdict = respond::verdict(error);
        let refusals = if let RequestError::Invalid(refusals) = error { &refusals.0[..] } else { &[] };
        let id = (document.len() <= limits::DECODE_INLINE_BYTES).then(|| talk::id(document)).flatten();
        let text = talk::refusal(id.as_deref(), verdict.code, &sentence, refusals, verdict.retry_after);
        // A credential that ran out or was revoked is not tried again and again on an open line.
        let refused = matches!(error, RequestError::Unauthenticated | RequestError::SourceAddress);
        Answer { text, ends: refused.then_some((CloseCode::Policy, "you are not let in any more")) }
    }
}
