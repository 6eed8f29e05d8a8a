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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use futures::{SinkExt as _, StreamExt as _};
    use serde_json::{Value, json};
    use slipway_oip::health::{HealthCheckRequest, HealthClient, ServingStatus};
    use slipway_runtime::drain::{self, HttpLimits};
    use slipway_runtime::{CancellationToken, Clock};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
    use tokio_tungstenite::{WebSocketStream, client_async};
    use tonic::transport::Endpoint;

    use super::*;
    use crate::front::FrontLimits;
    use crate::inference::fixtures;

    struct Served {
        address: SocketAddr,
        shutdown: CancellationToken,
        serving: JoinHandle<()>,
    }

    async fn served() -> Served {
        let inference = Arc::new(fixtures::serving(Clock::system()).with_version("1"));
        let limits = FrontLimits { body: 1 << 16, timeout: Duration::from_secs(5) };
        let shutdown = CancellationToken::new();
        let front = Front::new(inference, limits, shutdown.clone());
        let (listener, address) = drain::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let closing = shutdown.clone();
        let serving = tokio::spawn(async move {
            drain::http(listener, front.clone(), HttpLimits::default(), closing).await.unwrap();
            front.websockets().ended().await;
        });
        Served { address, shutdown, serving }
    }

    struct Client(WebSocketStream<TcpStream>);

    impl Client {
        async fn open(served: &Served, path: &str) -> Self {
            let stream = TcpStream::connect(served.address).await.unwrap();
            Self(client_async(format!("ws://{}{path}", served.address), stream).await.unwrap().0)
        }

        async fn hear(&mut self) -> Message {
            let heard = tokio::time::timeout(Duration::from_secs(10), self.0.next());
            heard.await.expect("something comes").unwrap().unwrap()
        }

        async fn ends(&mut self, code: CloseCode) {
            match self.hear().await {
                Message::Close(Some(frame)) => assert_eq!(frame.code, code, "{frame:?}"),
                other => panic!("{other:?} where {code} ends it"),
            }
        }
    }

    #[tokio::test]
    async fn messages_are_answered_under_their_ids_and_a_bad_one_harms_no_other() {
        let served = served().await;
        for path in ["/v2/models/digits/stream", "/v2/models/digits/versions/1/stream"] {
            let mut client = Client::open(&served, path).await;
            for id in 0..10 {
                let name = if id == 3 { "Y" } else { "X" };
                let input = json!({ "name": name, "datatype": "FP32", "shape": [1, 4], "data": [0, 1, 2, id] });
                let message = json!({ "id": format!("r-{id}"), "inputs": [input] });
                client.0.send(Message::text(message.to_string())).await.unwrap();
            }
            let mut refused = Vec::new();
            for _ in 0..10 {
                let answer: Value = serde_json::from_str(client.hear().await.to_text().unwrap()).unwrap();
                match answer["code"].as_str() {
                    Some(code) => refused.push((answer["id"].clone(), code.to_owned())),
                    None => {
                        assert_eq!([&answer["model_name"], &answer["model_version"]], ["digits", "1"]);
                    }
                }
            }
            assert_eq!(refused, [(json!("r-3"), "invalid-argument".to_owned())], "{path}");
            client.0.send(Message::text("x".repeat(1 << 17))).await.unwrap();
            client.ends(CloseCode::Size).await;
        }
    }

    #[tokio::test]
    async fn a_worker_that_ends_says_so_to_talks_and_to_who_watches_its_health() {
        let served = served().await;
        let mut client = Client::open(&served, "/v2/models/digits/stream").await;
        let endpoint = Endpoint::from_shared(format!("http://{}", served.address)).unwrap();
        let mut health = HealthClient::new(endpoint.connect().await.unwrap());
        let asked = |service: &str| HealthCheckRequest { service: service.into() };
        let checked = health.check(asked("digits")).await.unwrap().into_inner();
        assert_eq!(checked.status(), ServingStatus::Serving);
        let mut watched = health.watch(asked("digits")).await.unwrap().into_inner();
        assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        served.shutdown.cancel();
        client.ends(CloseCode::Away).await;
        assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        assert_eq!(watched.message().await.unwrap(), None);
        drop(client);
        tokio::time::timeout(Duration::from_secs(10), served.serving).await.expect("it ends").unwrap();
    }
}
