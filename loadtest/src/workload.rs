//! What is sent, and what counts as an answer.

use crate::report::FailureClass;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, uri::PathAndQuery};

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: PathAndQuery,
    /// Headers; `host` and `content-length` are added.
    pub headers: HeaderMap,
    /// The body, shared and not copied.
    pub body: Bytes,
}

/// One answer, read to its end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What an answer counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The request was answered.
    Answered,
    /// It was not.
    Failed(FailureClass),
}

/// Makes the requests of a run and judges the answers. Called on the generator's own thread: both must be quick.
pub trait Workload: Send + Sync + 'static {
    /// The `n`-th request of the run, counted from 0.
    fn request(&self, n: u64) -> Request;

    /// What the answer to the `n`-th request counts as. By default a status of 2xx is an answer and all else is not.
    fn judge(&self, _n: u64, reply: &Reply) -> Judgement {
        Judgement::by_status(reply.status)
    }

    /// The `n`-th request has no answer.
    fn unanswered(&self, _n: u64, _class: FailureClass) {}
}

impl Judgement {
    /// 2xx is an answer, all else a failure of that status.
    #[must_use]
    pub fn by_status(status: StatusCode) -> Self {
        if status.is_success() { Self::Answered } else { Self::Failed(FailureClass::Status(status.as_u16())) }
    }
}

/// The same request again and again.
#[derive(Clone, Debug)]
pub struct Same(pub Request);

impl Workload for Same {
    fn request(&self, _n: u64) -> Request {
        self.0.clone()
    }
}
