//! One knock at one door.
//!
//! With TLS 1.3 a client is through with its handshake before the server has looked at its certificate. So being connected
//! shows nothing: a stranger is refused when the server says so or hangs up, and let in when the server sends anything.

use crate::{domain::proof::Knock, error::chain};
use rustls::ClientConfig;
use slipway_proto::inference::{ServerLiveRequest, grpc_inference_service_client::GrpcInferenceServiceClient};
use slipway_runtime::tls::{self, TlsError};
use std::{error::Error as _, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::transport::Endpoint;

/// What a gRPC client says first (RFC 9113, 3.4): the preface and empty settings. Every HTTP/2 server answers with its own.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// How a TLS record that is an alert begins: its type, and the major version.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// Speaks gRPC without TLS.
pub(crate) async fn plain(address: SocketAddr, bound: Duration) -> Knock {
    let speaking = async {
        let mut stream = match TcpStream::connect(address).await {
            Ok(stream) => stream,
            Err(error) => return Knock::Undecided(format!("no connection: {error}")),
        };
        match greet(&mut stream).await {
            Heard::Bytes(bytes) if bytes.starts_with(&TLS_ALERT) => Knock::Refused("a TLS alert".to_owned()),
            heard => heard.knock(),
        }
    };
    within(bound, speaking).await
}

/// Shakes hands as whoever the configuration says, then speaks gRPC.
pub(crate) async fn shake(address: SocketAddr, config: Arc<ClientConfig>, bound: Duration) -> Knock {
    let speaking = async {
        match tls::connect(address, config, bound).await {
            Ok(mut stream) => greet(&mut stream).await.knock(),
            Err(error) => not_connected(&error),
        }
    };
    within(bound, speaking).await
}

/// Makes a call that any server of the protocol answers. Every answer will do; a broken connection is none.
pub(crate) async fn call(address: SocketAddr, config: Arc<ClientConfig>, bound: Duration) -> Knock {
    let calling = async {
        // `http`, for the connector brings its own TLS.
        let endpoint = Endpoint::from_static("http://worker");
        let channel = match endpoint.connect_with_connector(tls::connector(address, config)).await {
            Ok(channel) => channel,
            Err(error) => return Knock::Undecided(chain(&error)),
        };
        match GrpcInferenceServiceClient::new(channel).server_live(ServerLiveRequest {}).await {
            Ok(_) => Knock::LetIn("ServerLive was answered".to_owned()),
            // A status that was made here, because the connection broke, has a source; one that was received has none.
            Err(status) if status.source().is_some() => Knock::Refused(chain(&status)),
            Err(status) => Knock::LetIn(format!("ServerLive was answered: {:?}", status.code())),
        }
    };
    within(bound, calling).await
}

async fn within(bound: Duration, knocking: impl Future<Output = Knock>) -> Knock {
    let silent = || Knock::Undecided(format!("neither refused nor answered within {bound:?}"));
    timeout(bound, knocking).await.unwrap_or_else(|_| silent())
}

/// What is heard after the greeting.
enum Heard {
    Bytes(Vec<u8>),
    End,
    Error(io::Error),
}

impl Heard {
    fn knock(self) -> Knock {
        match self {
            Self::Bytes(bytes) => Knock::LetIn(format!("{} bytes in answer to a gRPC greeting", bytes.len())),
            Self::End => Knock::Refused("the connection was closed".to_owned()),
            Self::Error(error) => Knock::Refused(said(&error)),
        }
    }
}

async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Heard {
    // A server that refuses may have hung up before everything is written; its reason is then still to be read.
    let written = match stream.write_all(GREETING).await {
        Ok(()) => stream.flush().await,
        Err(error) => Err(error),
    };
    let mut first = vec![0; 64];
    match (stream.read(&mut first).await, written) {
        (Ok(0), _) => Heard::End,
        (Ok(read), _) => {
            first.truncate(read);
            Heard::Bytes(first)
        }
        (Err(error), _) => Heard::Error(error),
    }
}

/// A handshake that did not come about. That the server could not be reached, or is another than expected, is no refusal.
fn not_connected(error: &TlsError) -> Knock {
    let TlsError::Connect { source, .. } = error else { return Knock::Undecided(chain(error)) };
    match tls_error(source) {
        Some(rustls::Error::AlertReceived(_)) => Knock::Refused(said(source)),
        Some(_) => Knock::Undecided(chain(error)),
        None => match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Knock::Refused("the connection was closed in the handshake".to_owned())
            }
            _ => Knock::Undecided(chain(error)),
        },
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn said(error: &io::Error) -> String {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => format!("TLS alert {alert:?}"),
        _ => error.kind().to_string(),
    }
}
