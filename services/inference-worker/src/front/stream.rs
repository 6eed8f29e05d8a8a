//! `…/stream`: many requests on one WebSocket.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use slipway_oip::stream::UNDER_WAY;
use slipway_oip::talk;
use slipway_proto::failure::FailureCode;
use slipway_runtime::websocket::{Answer, Limits, NoTalk};

use super::Front;
use crate::refusal::{Refusal, SHORTEST_RETRY};
use crate::telemetry::Path;

/// WebSockets at once. Their messages are bounded like bodies, and a queue behind all of them bounds what is under way.
pub(super) const MOST: usize = 256;

impl Front {
    /// Opens a talk; each request of it may take as long as the opening one says.
    pub(super) fn stream(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let timeout = self.timeout(request.headers())?;
        let limits = Limits { message: self.limits.body, under_way: UNDER_WAY };
        let front = self.clone();
        // One client may hold one message at a time here, and there are as many as places.
        let hold = Box::new(|_| true);
        let accepted = self.sockets.accept(request, limits, hold, move |text| {
            let front = front.clone();
            async move { Answer { text: front.say(Bytes::from(text), timeout).await, ends: None } }
        });
        accepted.map_err(|refused| match refused {
            NoTalk::Handshake(refusals) => refusals.into(),
            NoTalk::Full(_) => Refusal::later(FailureCode::Overloaded, refused.to_string(), SHORTEST_RETRY),
        })
    }

    async fn say(&self, document: Bytes, timeout: Duration) -> String {
        match self.answer_one(document.clone(), timeout).await {
            Ok(text) => text,
            Err(refusal) => {
                let id = talk::id(&document);
                let Refusal { code, message, retry_after, values } = &refusal;
                talk::refusal(id.as_deref(), code.as_str(), message, values, *retry_after)
            }
        }
    }

    async fn answer_one(&self, document: Bytes, timeout: Duration) -> Result<String, Refusal> {
        let asked = self.read(talk::parts(document), Instant::now() + timeout).await;
        let response = self.inference.compute(Path::Direct, asked).await?;
        let is_long = response.bytes_in_text(&[]) > super::INLINE_BYTES;
        let written = super::aside_if(is_long, move || talk::answer(&response)).await?;
        written.map_err(|error| Refusal::new(FailureCode::Internal, error.to_string()))
    }
}
