//! What is served, as message and document.

use serde::{Deserialize, Serialize};
use slipway_kernel::{Refusal, Refusals};
use slipway_proto::inference::{RepositoryIndexResponse, repository_index_response::ModelIndex};

/// One version of a model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Served {
    /// The name by which requests call it.
    pub name: String,
    /// The version.
    pub version: String,
    /// Whether it can be asked now.
    pub state: State,
    /// Why not.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'static str,
}

/// Whether a model can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// It can.
    Ready,
    /// It cannot.
    Unavailable,
}

impl Served {
    /// A version that can be asked, or for this reason cannot.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>, unavailable: Option<&'static str>) -> Self {
        let state = if unavailable.is_some() { State::Unavailable } else { State::Ready };
        Self { name: name.into(), version: version.into(), state, reason: unavailable.unwrap_or_default() }
    }
}

/// What of it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Asked {
    /// Only what can be asked now.
    #[serde(default)]
    pub ready: bool,
}

impl Asked {
    /// Reads the body of a request, which may be empty.
    ///
    /// # Errors
    /// When it is no document of this kind.
    pub fn read(body: &[u8]) -> Result<Self, Refusals> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(body).map_err(|error| {
            Refusals(vec![Refusal::new("body", error.to_string(), "nothing, or {\"ready\": true or false}")])
        })
    }

    /// Of these what is asked for, in order.
    #[must_use]
    pub fn of(self, mut served: Vec<Served>) -> Vec<Served> {
        served.retain(|served| !self.ready || served.state == State::Ready);
        served.sort();
        served
    }
}

/// The same as a message.
#[must_use]
pub fn message(served: Vec<Served>) -> RepositoryIndexResponse {
    let index = |served: Served| ModelIndex {
        name: served.name,
        version: served.version,
        state: match served.state {
            State::Ready => "READY",
            State::Unavailable => "UNAVAILABLE",
        }
        .to_owned(),
        reason: served.reason.to_owned(),
    };
    RepositoryIndexResponse { models: served.into_iter().map(index).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_index_is_in_order_says_why_and_leaves_out_what_is_not_asked_for() {
        let served = vec![Served::new("b", "1-1", Some("no worker")), Served::new("a", "2-1", None)];
        let all = Asked::default().of(served.clone());
        assert_eq!(
            serde_json::to_value(&all).unwrap(),
            json!([
                { "name": "a", "version": "2-1", "state": "READY" },
                { "name": "b", "version": "1-1", "state": "UNAVAILABLE", "reason": "no worker" }
            ])
        );
        let ready = message(Asked { ready: true }.of(served));
        assert_eq!((ready.models.len(), ready.models[0].state.as_str()), (1, "READY"));
    }

    #[test]
    fn a_body_may_be_empty_and_is_refused_by_name_when_it_is_something_else() {
        for (body, ready) in [("", false), ("{}", false), (r#"{"ready": true}"#, true)] {
            assert_eq!(Asked::read(body.as_bytes()), Ok(Asked { ready }), "{body}");
        }
        for body in ["[]x", r#"{"ready": 1}"#, "ready"] {
            let refused = Asked::read(body.as_bytes()).unwrap_err();
            assert_eq!(refused.0[0].path, "body", "{body}");
        }
    }
}
