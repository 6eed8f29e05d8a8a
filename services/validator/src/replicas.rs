//! The metrics of the ingress, of each of its replicas.

use crate::{error::WorldError, exposition};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, Method, Uri, uri::PathAndQuery};
use slipway_kernel::{AnswerCounts, DeploymentId, RevisionId};
use slipway_loadtest::{Client, Limits, Request, Target};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How long one reading of the metrics may take. Longer, and it says nothing about now.
const PATIENCE: Duration = Duration::from_secs(1);
/// Replicas asked at once. A reading takes milliseconds; as many as there are cores would do.
const AT_ONCE: usize = 16;
/// Replicas asked at all: more than any cluster of ours has.
const MOST: usize = 256;

/// The replicas of the ingress: all addresses of a host, looked up each time.
pub(crate) struct Replicas {
    host: String,
    port: u16,
    /// Kept connections, by address.
    clients: Mutex<BTreeMap<SocketAddr, Client>>,
}

impl Replicas {
    /// Those behind `http://host:port`; none if that is no such address.
    pub(crate) fn behind(address: &str) -> Option<Self> {
        let uri: Uri = address.parse().ok()?;
        // Without the brackets that an address of IPv6 has in a URI.
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        Some(Self { host, port: uri.port_u16().unwrap_or(80), clients: Mutex::default() })
    }

    /// What each that answers has counted for a revision.
    ///
    /// # Errors
    /// When none answers.
    pub(crate) async fn live(
        &self,
        deployment: &DeploymentId,
        revision: RevisionId,
    ) -> Result<BTreeMap<String, AnswerCounts>, WorldError> {
        let clients = self.clients().await?;
        let asked = stream::iter(clients).map(|(address, client)| async move {
            let counts = read(&client, deployment, revision).await;
            (address, counts)
        });
        let (mut told, mut silent) = (BTreeMap::new(), "there is no replica".to_owned());
        for (address, counts) in asked.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
            match counts {
                Ok(counts) => {
                    told.insert(address.to_string(), counts);
                }
                // One on its way in or out does not hide the others.
                Err(why) => silent = format!("{address}: {why}"),
            }
        }
        if told.is_empty() { Err(WorldError::Metrics(silent)) } else { Ok(told) }
    }

    async fn clients(&self) -> Result<Vec<(SocketAddr, Client)>, WorldError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found = found.map_err(|error| WorldError::Metrics(format!("{} has no address: {error}", self.host)))?;
        let addresses: BTreeSet<SocketAddr> = found.take(MOST).collect();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|address, _| addresses.contains(address));
        for address in addresses {
            if !clients.contains_key(&address)
                && let Ok(target) = format!("http://{address}").parse::<Target>()
            {
                let limits = Limits { timeout: PATIENCE, connect_timeout: PATIENCE, ..Limits::default() };
                clients.insert(address, Client::new(target, &limits));
            }
        }
        Ok(clients.iter().map(|(address, client)| (*address, client.clone())).collect())
    }
}

async fn read(client: &Client, deployment: &DeploymentId, revision: RevisionId) -> Result<AnswerCounts, String> {
    let request = Request {
        method: Method::GET,
        path: PathAndQuery::from_static("/metrics"),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let reply = client.send(request).await.map_err(|class| class.to_string())?;
    if !reply.status.is_success() {
        return Err(format!("status {}", reply.status.as_u16()));
    }
    let text = std::str::from_utf8(&reply.body).map_err(|_| "not a text".to_owned())?;
    Ok(exposition::live(text, deployment, revision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    #[tokio::test]
    async fn a_name_stands_for_its_addresses_and_each_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let line = "slipway_ingress_requests_total{namespace=\"default\",deployment=\"digits\",revision=\"1-1\",code=\"200\",probe=\"false\"} 9\n";
                let _ = stream.read(&mut [0; 1_024]).await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", line.len());
                let _ = stream.write_all((head + line).as_bytes()).await;
            }
        });
        let id = "default.digits".parse().unwrap();
        let replicas = Replicas::behind(&format!("http://localhost:{}", address.port())).unwrap();
        let told = replicas.live(&id, RevisionId::new(1, 1)).await.unwrap();
        assert_eq!(told.keys().collect::<Vec<_>>(), [&address.to_string()]);
        assert_eq!(told[&address.to_string()].requests, 9);
        // Nobody listens there any more.
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let replicas = Replicas::behind(&format!("http://{gone}")).unwrap();
        let error = replicas.live(&id, RevisionId::new(1, 1)).await.unwrap_err().to_string();
        assert!(error.contains(&gone.to_string()), "{error}");
    }
}
