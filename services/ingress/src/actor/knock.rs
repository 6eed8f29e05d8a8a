//! One request at the own door, over a real connection.

use super::{OwnDoor, pinned};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use slipway_runtime::tls;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

/// How long one knock may take: as long as a slow first inference, well below the bound of the whole proof.
const KNOCK: Duration = Duration::from_secs(10);
/// How much of an answer is read.
const ANSWER_BYTES: usize = 64 << 20;

/// What the door answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Answered {
    /// The word and sentence of a refusal, for a finding.
    pub(super) fn says(&self) -> String {
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let refusal = document.pointer("/refusals/0").map(|refusal| format!(" ({refusal})")).unwrap_or_default();
        match document["error"].as_str() {
            Some(error) => format!("{} {error}{refusal}", self.status),
            None => self.status.to_string(),
        }
    }
}

/// Posts a document.
///
/// # Errors
/// In words: the door could not be reached or did not answer.
pub(super) async fn post(
    door: &OwnDoor,
    path: &str,
    headers: &[(&'static str, String)],
    document: String,
) -> Result<Answered, String> {
    let knocking = async {
        let mut request = Request::post(path)
            .header(header::HOST, door.address.to_string())
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(document))).map_err(|error| error.to_string())?;
        match door.certificate.as_ref().and_then(|certificate| certificate.shown()) {
            None => send(TcpStream::connect(door.address).await.map_err(|error| error.to_string())?, request).await,
            Some(certificate) => {
                let config = pinned::client_config(certificate).map_err(|error| error.to_string())?;
                let stream = tls::connect(door.address, Arc::clone(&config), KNOCK).await;
                send(stream.map_err(|error| error.to_string())?, request).await
            }
        }
    };
    timeout(KNOCK, knocking).await.unwrap_or_else(|_| Err(format!("no answer within {} s", KNOCK.as_secs())))
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answered, String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    // The connection ends with its task, and that with this future.
    let task = AbortOnDrop(tokio::spawn(connection).abort_handle());
    let response = sender.send_request(request).await.map_err(text)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(|error| error.to_string())?;
    drop(task);
    Ok(Answered { status, body: body.to_bytes() })
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
