//! The samples of a case, sent one after the other.

use super::{Case, CaseError, MODEL_INFER, Protocol, answer, encode};
use crate::{
    client::{Client, Target},
    error::LoadError,
    report::FailureClass,
    run::Limits,
    workload::{Judgement, Reply, Request, Workload},
};
use http::{HeaderName, HeaderValue, Method, Uri, uri::PathAndQuery};

/// A case in one protocol, as a workload. An answer that is not the reference's is [`FailureClass::Wrong`].
#[derive(Clone, Debug)]
pub struct Inference {
    case: Case,
    protocol: Protocol,
    requests: Vec<Request>,
    compares: bool,
}

/// An answer that is not the right one.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// No answer at all.
    #[error("sample {sample}: {class}")]
    None {
        /// Which, from 0.
        sample: usize,
        /// Why there is none.
        class: FailureClass,
    },
    /// The server refused.
    #[error("sample {sample}: {status}: {said}")]
    Refused {
        /// Which, from 0.
        sample: usize,
        /// With which status.
        status: http::StatusCode,
        /// What it said, at most a few lines.
        said: String,
    },
    /// Other numbers.
    #[error("sample {sample}: {got:?} instead of {expected:?}")]
    Wrong {
        /// Which, from 0.
        sample: usize,
        /// The first of the numbers; none where none could be read.
        got: Vec<f64>,
        /// The first of those that are right.
        expected: Vec<f64>,
    },
}

/// How many numbers, or characters of a refusal, are shown.
const SHOWN: (usize, usize) = (8, 400);

/// Whom to send to, and by which path. `url` is that of the call for HTTP; of one of gRPC only host and port count.
///
/// # Errors
/// If it is no URL of a plain HTTP server.
pub fn address(protocol: Protocol, url: &Uri) -> Result<(Target, PathAndQuery), LoadError> {
    let refused = || LoadError::Target { target: url.to_string() };
    let authority = url.authority().ok_or_else(refused)?;
    if url.scheme_str() != Some("http") {
        return Err(refused());
    }
    let (scheme, path) = match protocol {
        Protocol::OipGrpc => ("grpc", PathAndQuery::from_static(MODEL_INFER)),
        _ => ("http", url.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))),
    };
    Ok((format!("{scheme}://{authority}").parse()?, path))
}

impl Inference {
    /// The samples of `case`, written in `protocol`, sent to `path`. `compares` is false for servers that know no model.
    ///
    /// # Errors
    /// If a sample cannot be written.
    pub fn new(case: Case, protocol: Protocol, path: &PathAndQuery, compares: bool) -> Result<Self, CaseError> {
        let encoded = case.samples.iter().map(|sample| encode::encode(&case, protocol, sample));
        let requests = encoded.map(|encoded| {
            let encode::Encoded { headers, body } = encoded?;
            Ok(Request { method: Method::POST, path: path.clone(), headers, body })
        });
        let requests = requests.collect::<Result<Vec<_>, CaseError>>()?;
        Ok(Self { case, protocol, requests, compares })
    }

    /// The same with headers of one's own.
    #[must_use]
    pub fn with_headers(mut self, headers: &[(HeaderName, HeaderValue)]) -> Self {
        for request in &mut self.requests {
            request.headers.extend(headers.iter().cloned());
        }
        self
    }

    /// How long the body of the first request is, in bytes.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.requests.first().map_or(0, |request| request.body.len())
    }

    /// Sends every sample once and compares the answers: how many were sent.
    ///
    /// # Errors
    /// The first answer that is not the right one.
    pub async fn verify(&self, target: &Target, limits: &Limits) -> Result<usize, Mismatch> {
        let client = Client::new(target.clone(), limits);
        for (sample, request) in self.requests.iter().enumerate() {
            let reply = client.send(request.clone()).await.map_err(|class| Mismatch::None { sample, class })?;
            self.compare(sample, &reply)?;
        }
        Ok(self.requests.len())
    }

    fn compare(&self, sample: usize, reply: &Reply) -> Result<(), Mismatch> {
        if !reply.status.is_success() {
            let message = reply.headers.get("grpc-message").map_or(reply.body.as_ref(), |text| text.as_bytes());
            let said = String::from_utf8_lossy(message).chars().take(SHOWN.1).collect();
            return Err(Mismatch::Refused { sample, status: reply.status, said });
        }
        let got = answer::numbers(self.protocol, reply).unwrap_or_default();
        let expected = &self.case.samples[sample];
        if !self.compares || self.case.is_right(expected, &got) {
            return Ok(());
        }
        let first = |numbers: &[f64]| numbers.iter().take(SHOWN.0).copied().collect();
        Err(Mismatch::Wrong { sample, got: first(&got), expected: first(&expected.expected) })
    }

    fn sample(&self, n: u64) -> usize {
        // The remainder is smaller than the number of samples.
        usize::try_from(n % self.requests.len() as u64).unwrap_or(0)
    }
}

impl Workload for Inference {
    fn request(&self, n: u64) -> Request {
        self.requests[self.sample(n)].clone()
    }

    fn judge(&self, n: u64, reply: &Reply) -> Judgement {
        if !self.compares {
            return Judgement::by_status(reply.status);
        }
        match self.compare(self.sample(n), reply) {
            Ok(()) => Judgement::Answered,
            Err(Mismatch::Refused { .. }) => Judgement::by_status(reply.status),
            Err(Mismatch::None { class, .. }) => Judgement::Failed(class),
            Err(Mismatch::Wrong { .. }) => Judgement::Failed(FailureClass::Wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::case::tests::case, *};
    use http::{HeaderMap, StatusCode};

    fn workload(compares: bool) -> Inference {
        Inference::new(case(), Protocol::Json, &PathAndQuery::from_static("/predict"), compares).unwrap()
    }

    fn reply(status: StatusCode, body: &'static str) -> Reply {
        Reply { status, headers: HeaderMap::new(), body: body.into() }
    }

    #[test]
    fn an_answer_to_another_sample_is_wrong() {
        let workload = workload(true);
        let second = reply(StatusCode::OK, r#"{"output": [0.1, 0.2, 0.7]}"#);
        assert_eq!(workload.judge(1, &second), Judgement::Answered);
        assert_eq!(workload.judge(3, &second), Judgement::Answered);
        assert_eq!(workload.judge(2, &second), Judgement::Failed(FailureClass::Wrong));
        assert_ne!(workload.request(0).body, workload.request(1).body);
        assert_eq!(workload.request(0).body, workload.request(2).body);
    }

    #[test]
    fn a_refusal_is_told_from_a_wrong_answer() {
        let refusal = reply(StatusCode::SERVICE_UNAVAILABLE, "later");
        assert_eq!(workload(true).judge(0, &refusal), Judgement::Failed(FailureClass::Status(503)));
        let empty = reply(StatusCode::OK, "{}");
        assert_eq!(workload(true).judge(0, &empty), Judgement::Failed(FailureClass::Wrong));
    }

    #[test]
    fn an_echo_is_not_compared_but_must_not_refuse() {
        let workload = workload(false);
        assert_eq!(workload.judge(0, &reply(StatusCode::OK, "anything")), Judgement::Answered);
        let refusal = reply(StatusCode::NOT_FOUND, "");
        assert_eq!(workload.judge(0, &refusal), Judgement::Failed(FailureClass::Status(404)));
    }

    #[test]
    fn a_call_of_grpc_goes_to_the_host_and_the_path_of_the_protocol() {
        let url: Uri = "http://127.0.0.1:9000/ignored".parse().unwrap();
        let (target, path) = address(Protocol::OipGrpc, &url).unwrap();
        assert_eq!((target.to_string().as_str(), path.as_str()), ("grpc://127.0.0.1:9000", MODEL_INFER));
        let (target, path) = address(Protocol::OipJson, &url).unwrap();
        assert_eq!((target.to_string().as_str(), path.as_str()), ("http://127.0.0.1:9000", "/ignored"));
        assert!(address(Protocol::OipJson, &"https://127.0.0.1/".parse().unwrap()).is_err());
    }
}
