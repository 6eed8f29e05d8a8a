//! Why infrastructure could not be made, told from what the vendor says.
//!
//! A vendor's words are the only thing that tells a quota from a slip: the programs pass them on in `detail`. What is not recognised is taken for lasting: to
//! try it again would cost money and change nothing.

use super::events::Diagnostic;
use slipway_kernel::{Cause, Finding, FindingKind};

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The account may not have so much.
    Quota,
    /// The vendor has none left there just now.
    Capacity,
    /// Somebody else, perhaps a part of us that was killed, is at the same state.
    Locked,
    /// We may not, or nobody knows who we are.
    Denied,
    /// It may pass by itself.
    Passing,
    /// Anything else: what is asked for is wrong.
    Wrong,
}

/// Words by which each is told, in lower case, the first that fits: the vendors' own error codes, and what their messages have in common. Haste comes
/// first: a vendor that has no quota of requests left for this minute calls it one too.
const WORDS: [(Why, &[&str]); 6] = [
    (
        Why::Passing,
        &["throttl", "toomanyrequests", "ratelimitexceeded", "rate exceeded", "requestlimitexceeded", "per minute"],
    ),
    (
        Why::Locked,
        &["error acquiring the state lock", "state blob is already locked", "conditionalcheckfailedexception"],
    ),
    (
        Why::Capacity,
        &[
            "insufficientinstancecapacity",
            "insufficientcapacity",
            "skunotavailable",
            "allocationfailed",
            "resource_pool_exhausted",
            "does not have enough resources available",
        ],
    ),
    (Why::Quota, &["limitexceeded", "quota", "exceeding approved"]),
    (
        Why::Denied,
        &[
            "accessdenied",
            "unauthorizedoperation",
            "authorizationfailed",
            "permission_denied",
            "forbidden",
            "no valid credential sources",
            "could not find default credentials",
            "expiredtoken",
            "invalidclienttokenid",
            "unable to build authorizer",
        ],
    ),
    (
        Why::Passing,
        &[
            "serviceunavailable",
            "internalerror",
            "internal error",
            "timeout",
            "timed out",
            "connection reset",
            "connection refused",
            "no such host",
            "bad gateway",
            // Somebody applied between the plan and its apply.
            "saved plan is stale",
        ],
    ),
];

impl Why {
    /// What one diagnostic tells.
    #[must_use]
    pub fn of(diagnostic: &Diagnostic) -> Self {
        let text = format!("{} {}", diagnostic.summary, diagnostic.detail).to_lowercase();
        WORDS
            .iter()
            .find(|(_, words)| words.iter().any(|word| text.contains(word)))
            .map_or(Self::Wrong, |(why, _)| *why)
    }

    /// Whether another place or another machine may be had where this one is refused.
    #[must_use]
    pub const fn calls_for_another(self) -> bool {
        matches!(self, Self::Quota | Self::Capacity)
    }

    const fn finding(self) -> (FindingKind, Cause, &'static str) {
        match self {
            Self::Quota => {
                (FindingKind::Unschedulable, Cause::Deterministic, "raise the quota, or name another choice")
            }
            Self::Capacity => (FindingKind::Unschedulable, Cause::Transient, "wait, or name another choice"),
            Self::Locked => (
                FindingKind::DependencyUnavailable,
                Cause::Transient,
                "if nobody works on it any more, break the lock (`tofu force-unlock ID`); the id stands above",
            ),
            Self::Denied => (
                FindingKind::Misconfigured,
                Cause::Deterministic,
                "see to the credentials and rights of the provisioner",
            ),
            Self::Passing => (FindingKind::DependencyUnavailable, Cause::Transient, "it is tried again"),
            Self::Wrong => (FindingKind::Misconfigured, Cause::Deterministic, "see to the module and its variables"),
        }
    }
}

/// Why a run of the program did not do what it was to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What kind.
    pub why: Why,
    /// The vendor's words; never empty.
    pub said: Vec<String>,
}

/// How much of what was said is kept: a vendor's longest message, and no wall of text.
const MAX_SAID: usize = 2_000;
/// How many errors: the first tell why, the rest follow from them.
const MAX_ERRORS: usize = 5;

impl Refused {
    /// What several errors come to: the gravest that no waiting and no other place mends, else the first of the others.
    #[must_use]
    pub fn of(errors: &[Diagnostic], otherwise: &str) -> Self {
        const ORDER: [Why; 6] = [Why::Denied, Why::Wrong, Why::Quota, Why::Capacity, Why::Locked, Why::Passing];
        let kinds: Vec<Why> = errors.iter().map(Why::of).collect();
        let why = ORDER.into_iter().find(|why| kinds.contains(why)).unwrap_or(Why::Wrong);
        let mut said: Vec<String> = errors.iter().take(MAX_ERRORS).map(|error| cut(&error.said())).collect();
        if said.is_empty() {
            said.push(cut(otherwise));
        }
        Self { why, said }
    }

    /// The finding; `doing` says what was to be done.
    #[must_use]
    pub fn finding(&self, doing: &str) -> Finding {
        let (kind, cause, advice) = self.why.finding();
        let message = format!("{doing} was refused: {}; {advice}", self.said.join(" | "));
        match cause {
            Cause::Transient => Finding::transient(kind, message),
            Cause::Deterministic => Finding::deterministic(kind, message),
        }
    }
}

fn cut(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(MAX_SAID) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(summary: &str, detail: &str) -> Diagnostic {
        Diagnostic { severity: "error".into(), summary: summary.into(), detail: detail.into(), address: None }
    }

    #[test]
    fn a_vendors_words_tell_a_quota_from_a_slip() {
        // As the vendors' documentation of their errors has them.
        for (detail, why) in [
            (
                "operation error EC2: RunInstances, api error VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 4 allows",
                Why::Quota,
            ),
            (
                "api error InsufficientInstanceCapacity: We currently do not have sufficient g6.xlarge capacity in the Availability Zone you requested",
                Why::Capacity,
            ),
            ("api error RequestLimitExceeded: Request limit exceeded.", Why::Passing),
            ("api error UnauthorizedOperation: You are not authorized to perform this operation.", Why::Denied),
            ("No valid credential sources found", Why::Denied),
            (
                "Code=\"OperationNotAllowed\" Message=\"Operation could not be completed as it results in exceeding approved standardNCASv3 Cores quota.\"",
                Why::Quota,
            ),
            (
                "Code=\"SkuNotAvailable\" Message=\"The requested VM size is currently not available in location 'westeurope'.\"",
                Why::Capacity,
            ),
            ("Code=\"AuthorizationFailed\"", Why::Denied),
            (
                "googleapi: Error 403: Quota 'NVIDIA_L4_GPUS' exceeded. Limit: 0.0 in region europe-west4., quotaExceeded",
                Why::Quota,
            ),
            (
                "Error code ZONE_RESOURCE_POOL_EXHAUSTED: The zone does not have enough resources available to fulfill the request",
                Why::Capacity,
            ),
            ("googleapi: Error 429: Rate Limit Exceeded, rateLimitExceeded", Why::Passing),
            (
                "googleapi: Error 403: Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute'",
                Why::Passing,
            ),
            ("The given plan file can no longer be applied: Saved plan is stale", Why::Passing),
            ("dial tcp: lookup sts.amazonaws.com: no such host", Why::Passing),
            ("read tcp 10.0.0.1:443: i/o timeout", Why::Passing),
            ("expected instance_type to be one of [...], got g6.tiny", Why::Wrong),
        ] {
            assert_eq!(Why::of(&error("creating the pool", detail)), why, "{detail}");
        }
        assert_eq!(
            Why::of(&error("Error acquiring the state lock", "Lock Info:\n  ID: 1a2b\n  Who: slipway@pod-1")),
            Why::Locked
        );
    }

    #[test]
    fn of_several_errors_the_one_that_nothing_mends_counts() {
        let quota = error("a", "VcpuLimitExceeded");
        let slip = error("b", "unsupported argument");
        let passing = error("c", "i/o timeout");
        assert_eq!(Refused::of(&[passing.clone(), quota.clone()], "").why, Why::Quota);
        assert_eq!(Refused::of(&[quota, slip], "").why, Why::Wrong);
        assert_eq!(Refused::of(&[passing], "").why, Why::Passing);
        let silent = Refused::of(&[], "it ended with 1 and said nothing");
        assert_eq!((silent.why, silent.said.len()), (Why::Wrong, 1));
    }

    #[test]
    fn the_words_are_kept_as_they_came_and_bounded() {
        let refused = Refused::of(&[error("creating", &format!("VcpuLimitExceeded: {}", "x".repeat(10_000)))], "");
        assert!(refused.said[0].starts_with("creating: VcpuLimitExceeded: xxx"));
        assert!(refused.said[0].chars().count() <= MAX_SAID + 1);
        let finding = refused.finding("making the pool");
        assert_eq!((finding.kind, finding.cause), (FindingKind::Unschedulable, Cause::Deterministic));
        assert!(finding.message.ends_with("raise the quota, or name another choice"));
    }
}
