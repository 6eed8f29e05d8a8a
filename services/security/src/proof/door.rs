//! The public door, tried as a stranger.

use crate::{
    domain::{
        api_key::{PREFIX, RANDOM_BYTES},
        proof::{Knock, door, judge_door},
    },
    effects::{Place, Trouble},
    error::chain,
    telemetry::SecurityMetrics,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use slipway_kernel::Proof;
use std::time::Duration;

/// The public door, if one is configured.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    at: Option<(String, reqwest::Client)>,
    metrics: SecurityMetrics,
}

impl Door {
    /// The door at `url`; without one it is not tried.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(url: Option<&str>, bound: Duration, metrics: SecurityMetrics) -> Result<Self, reqwest::Error> {
        let at = match url {
            Some(url) => {
                // Whoever starts the process has done so; a second time changes nothing.
                slipway_runtime::tls::install_provider();
                // An answer from elsewhere shows nothing of this door.
                let client =
                    reqwest::Client::builder().timeout(bound).redirect(reqwest::redirect::Policy::none()).build()?;
                Some((url.trim_end_matches('/').to_owned(), client))
            }
            None => None,
        };
        Ok(Self { at, metrics })
    }

    /// Knocks without a key and with one that was made up.
    pub(crate) async fn prove(&self, place: &Place) -> Result<Vec<Proof>, Trouble> {
        let not_tried = |why: &str| Ok(vec![Proof { name: "door-not-proved".to_owned(), detail: why.to_owned() }]);
        let Some((url, client)) = &self.at else {
            return not_tried("no address of the public door is configured; the validator tries it");
        };
        if place.anonymous {
            return not_tried("callers without a credential are served, as the spec wants and the policy allows");
        }
        let made_up = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()));
        let knocks = [
            ("without a key", knock(client, url, place, None).await),
            ("with a made-up key", knock(client, url, place, Some(&made_up)).await),
        ];
        judge_door(&knocks).map_err(|holes| {
            holes.iter().for_each(|_| self.metrics.hole());
            Trouble::Findings(holes)
        })
    }
}

async fn knock(client: &reqwest::Client, url: &str, place: &Place, key: Option<&str>) -> Knock {
    let (namespace, name) = (&place.deployment.namespace, &place.deployment.name);
    let infer = format!("{url}/v2/namespaces/{namespace}/models/{name}/infer");
    // No inputs: whoever answers it well has not even looked at it.
    let request = client.post(infer).header("content-type", "application/json").body("{}");
    let request = match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    match request.send().await {
        Ok(response) => door(response.status().as_u16()),
        Err(error) => Knock::Undecided(chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{FindingKind, RevisionId};
    use slipway_runtime::Frame;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        sync::mpsc,
    };

    /// A public door that answers everybody with one status, and tells what it was sent.
    async fn answering(status: &'static str) -> (String, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (told, heard) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4_096];
                let read = stream.read(&mut request).await.unwrap();
                told.send(String::from_utf8_lossy(&request[..read]).into_owned()).await.unwrap();
                let response = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        });
        (url, heard)
    }

    fn place(anonymous: bool) -> Place {
        Place { deployment: "team.digits".parse().unwrap(), revision: RevisionId::new(1, 1), replicas: 1, anonymous }
    }

    async fn prove(url: Option<&str>, anonymous: bool) -> Result<Vec<String>, Vec<FindingKind>> {
        let metrics = SecurityMetrics::register(&Frame::for_test("security").metrics);
        let door = Door::new(url, Duration::from_millis(500), metrics).unwrap();
        match door.prove(&place(anonymous)).await {
            Ok(proofs) => Ok(proofs.into_iter().map(|proof| proof.name).collect()),
            Err(Trouble::Findings(findings)) => Err(findings.into_iter().map(|finding| finding.kind).collect()),
            Err(Trouble::Later(error)) => panic!("{error:#}"),
        }
    }

    #[tokio::test]
    async fn a_door_that_refuses_strangers_is_proved_and_asked_about_its_own_deployment() {
        let (url, mut heard) = answering("401 Unauthorized").await;
        assert_eq!(prove(Some(&url), false).await.unwrap(), ["door-refuses-stranger"; 2]);
        let (without, with) = (heard.recv().await.unwrap(), heard.recv().await.unwrap());
        assert!(without.starts_with("POST /v2/namespaces/team/models/digits/infer HTTP/1.1"), "{without}");
        assert!(!without.contains("authorization") && with.contains("authorization: Bearer slw_"), "{with}");
    }

    #[tokio::test]
    async fn a_door_that_serves_strangers_is_a_hole() {
        let (url, _heard) = answering("200 OK").await;
        assert_eq!(prove(Some(&url), false).await.unwrap_err(), [FindingKind::AuthHole; 2]);
    }

    #[tokio::test]
    async fn what_cannot_be_told_at_the_door_is_said_and_not_held_against_the_revision() {
        let (url, _heard) = answering("404 Not Found").await;
        let (moved, _heard) = answering("302 Found").await;
        for url in [url.as_str(), moved.as_str(), "http://127.0.0.1:1"] {
            assert_eq!(prove(Some(url), false).await.unwrap(), ["door-not-proved"; 2], "{url}");
        }
        assert_eq!(prove(None, false).await.unwrap(), ["door-not-proved"]);
    }

    #[tokio::test]
    async fn a_door_that_is_open_to_everybody_by_the_spec_is_not_tried() {
        let (url, mut heard) = answering("200 OK").await;
        assert_eq!(prove(Some(&url), true).await.unwrap(), ["door-not-proved"]);
        assert!(heard.try_recv().is_err());
    }
}
