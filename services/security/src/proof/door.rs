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
