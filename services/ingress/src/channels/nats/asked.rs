//! Requests whose clients wait: a request and its reply, as any client of NATS makes them. Nothing is stored; they go straight to a worker.

use super::{
    data,
    message::{self, Incoming},
};
use crate::{
    auth::Shown,
    error::RequestError,
    observe, respond,
    routes::{enter, head::Head, infer, wire::Wire},
    stack::Ingress,
    trail::Trail,
};
use bytes::Bytes;
use http::{HeaderMap, Uri};
use slipway_bus::{Ask, Bus, ReplySubject, topology::MAX_REPLY_BYTES};
use slipway_kernel::DeploymentId;
use slipway_oip::reply::Reply;
use slipway_runtime::CancellationToken;
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use tokio_util::task::TaskTracker;
use tracing::debug;

/// The broker does not tell the address of a client. A deployment that lets in some networks only cannot open this door; if it could, this
/// is in none of them.
pub(super) const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Answers until the shutdown, and then what came before it.
pub(super) async fn serve(ingress: Arc<Ingress>, bus: &Bus, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let (mut asks, tracker) = (bus.asks().await?, TaskTracker::new());
    let mut ends = false;
    loop {
        let ask = tokio::select! {
            ask = asks.next() => ask,
            () = shutdown.cancelled(), if !ends => {
                ends = true;
                asks.end().await;
                continue;
            }
        };
        let Some(ask) = ask else { break };
        let (ingress, bus) = (Arc::clone(&ingress), bus.clone());
        // Never waits: what has no room in the memory for bodies is refused inside.
        tracker.spawn(async move { handle(&ingress, &bus, ask).await });
    }
    tracker.close();
    tracker.wait().await;
    if ends { Ok(()) } else { anyhow::bail!("the broker's connection was closed") }
}

async fn handle(ingress: &Ingress, bus: &Bus, ask: Ask) {
    let Ask { subject, deployment, headers, payload, reply } = ask;
    let Some(deployment) = deployment else { return debug!(subject, "a request for a deployment that none can be") };
    let reply = reply.as_deref().map(|reply| ReplySubject::read(reply, &deployment.namespace));
    let reply = match reply {
        Some(Ok(reply)) => reply,
        // Nobody can be told.
        Some(Err(allowed)) => return debug!(%deployment, allowed, "a request whose answer may not go where it should"),
        None => return debug!(%deployment, "a request without anybody who waits for its answer"),
    };
    let answer = answer(ingress, bus, &deployment, &subject, &headers, payload).await.within(MAX_REPLY_BYTES);
    if let Err(error) = bus.replies().send(&reply, &answer.headers, answer.payload).await {
        debug!(%deployment, %error, "an answer could not be sent");
    }
}

async fn answer(
    ingress: &Ingress,
    bus: &Bus,
    deployment: &DeploymentId,
    subject: &str,
    headers: &[(String, String)],
    payload: Bytes,
) -> Reply {
    let headers = match message::headers(headers) {
        Ok(headers) => headers,
        Err(error) => return respond::reply(&error),
    };
    let trail = Arc::new(observe::trail_of_message(&headers, subject));
    let work = work(ingress, bus, &trail, deployment, &headers, payload);
    let done = observe::one(&ingress.metrics, &trail, work).await;
    message::told(done.unwrap_or_else(|error| respond::reply(&error)), &trail)
}

async fn work(
    ingress: &Ingress,
    bus: &Bus,
    trail: &Trail,
    deployment: &DeploymentId,
    headers: &HeaderMap,
    payload: Bytes,
) -> Result<Reply, RequestError> {
    let mut held = ingress.admission.bodies.share();
    let payload = data::payload(bus, deployment, headers, payload, &mut held).await?;
    let incoming = Incoming::read(deployment, headers, Head::of_message(headers)?, payload)?;
    let shown = Shown { headers, uri: &Uri::default(), peer: NO_ADDRESS, arrived: trail.arrived };
    let visit = enter::enter(ingress, &incoming.address, shown, trail).await?;
    if !visit.rules.nats {
        return Err(RequestError::NatsClosed(deployment.clone()));
    }
    if incoming.head.respond_async {
        let allowed = "none here; leave the request at the subject that ends in `request`";
        return Err(RequestError::invalid("header.prefer", "respond-async", allowed));
    }
    let is_document = matches!(incoming.wire, Wire::Body { .. });
    let (response, forms) = infer::now(ingress, trail, visit, incoming.head, incoming.wire).await?;
    Ok(if is_document { Reply::document(infer::written(&response, &forms).await?) } else { Reply::message(&response) })
}
