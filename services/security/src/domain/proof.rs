//! What knocking at a door shows. A stranger must be refused in so many words; that nothing happened proves nothing. And that
//! the ingress gets in must be seen too: a dead door refuses everybody.

use slipway_kernel::{Finding, FindingKind, Proof};

/// Who knocks at a worker's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visitor {
    /// Somebody who speaks gRPC without TLS.
    Plaintext,
    /// Somebody with TLS and without a certificate.
    NoCertificate,
    /// Somebody who says he is the ingress, vouched for by an authority of his own.
    ForeignAuthority,
    /// A service of this mesh that workers do not serve.
    OtherService,
    /// The ingress.
    Ingress,
}

impl Visitor {
    /// All of them; the last one is no stranger.
    pub const ALL: [Self; 5] =
        [Self::Plaintext, Self::NoCertificate, Self::ForeignAuthority, Self::OtherService, Self::Ingress];

    /// The proof's name.
    const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "worker-refuses-plaintext",
            Self::NoCertificate => "worker-refuses-no-certificate",
            Self::ForeignAuthority => "worker-refuses-foreign-authority",
            Self::OtherService => "worker-refuses-other-service",
            Self::Ingress => "worker-serves-ingress",
        }
    }

    const fn described(self) -> &'static str {
        match self {
            Self::Plaintext => "a call without TLS",
            Self::NoCertificate => "a call without a certificate",
            Self::ForeignAuthority => "a call with a certificate of a foreign authority",
            Self::OtherService => "a call with the certificate of another service",
            Self::Ingress => "a call with the ingress's identity",
        }
    }
}

/// What came of a knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// Refused, and how.
    Refused(String),
    /// Let in, and what was heard there.
    LetIn(String),
    /// It could not be told, and why.
    Undecided(String),
}

/// One knock at one worker's door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The worker.
    pub worker: String,
    /// Who knocked.
    pub visitor: Visitor,
    /// What came of it.
    pub knock: Knock,
}

/// The proofs if every door is closed to strangers and open to the ingress, else the findings.
///
/// # Errors
/// The findings: `auth-hole` for each stranger that was let in; what could not be told, or an ingress that was not let in,
/// may pass.
pub fn judge(visits: &[Visit]) -> Result<Vec<Proof>, Vec<Finding>> {
    let findings: Vec<Finding> = visits.iter().filter_map(trouble).collect();
    if !findings.is_empty() {
        return Err(findings);
    }
    let of = |visitor: Visitor| visits.iter().filter(move |visit| visit.visitor == visitor);
    let missing: Vec<Finding> = Visitor::ALL
        .into_iter()
        .filter(|visitor| of(*visitor).next().is_none())
        .map(|visitor| {
            Finding::transient(FindingKind::DependencyUnavailable, format!("{} was not tried", visitor.described()))
        })
        .collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    Ok(Visitor::ALL.into_iter().map(|visitor| proof(visitor, &of(visitor).collect::<Vec<_>>())).collect())
}

fn trouble(visit: &Visit) -> Option<Finding> {
    let (worker, described) = (&visit.worker, visit.visitor.described());
    let finding = match (visit.visitor, &visit.knock) {
        (Visitor::Ingress, Knock::LetIn(_)) => return None,
        (Visitor::Ingress, Knock::Refused(how)) => Finding::transient(
            FindingKind::DependencyUnavailable,
            format!("{worker} refused {described}, so its refusal of strangers shows nothing: {how}"),
        ),
        (_, Knock::Refused(_)) => return None,
        (_, Knock::LetIn(heard)) => {
            Finding::deterministic(FindingKind::AuthHole, format!("{worker} answered {described}: {heard}"))
        }
        (_, Knock::Undecided(why)) => Finding::transient(
            FindingKind::DependencyUnavailable,
            format!("whether {worker} refuses or serves {described} could not be told: {why}"),
        ),
    };
    Some(finding.with_evidence(format!("worker:{worker}")).with_evidence(visit.visitor.name()))
}

/// One line for all workers: the words of the first, for they are the same software.
fn proof(visitor: Visitor, visits: &[&Visit]) -> Proof {
    let heard = visits.first().map_or("", |visit| match &visit.knock {
        Knock::Refused(text) | Knock::LetIn(text) | Knock::Undecided(text) => text,
    });
    let workers = visits.len();
    let detail = match visitor {
        Visitor::Ingress => format!("{} was answered by {workers} of {workers} workers: {heard}", visitor.described()),
        _ => format!("{} was refused by {workers} of {workers} workers: {heard}", visitor.described()),
    };
    Proof { name: visitor.name().to_owned(), detail }
}

/// What the status of the public door's answer to a stranger shows.
#[must_use]
pub fn door(status: u16) -> Knock {
    match status {
        401 | 403 => Knock::Refused(format!("HTTP {status}")),
        200..=299 => Knock::LetIn(format!("HTTP {status}")),
        // No traffic yet (404, 503), or refused for what was sent before it was asked who sent it (400, 413, 429…).
        _ => Knock::Undecided(format!("HTTP {status}")),
    }
}

/// The proofs about the public door, or the holes in it. What could not be told there is said and not held against the
/// revision: it has no traffic yet, and the validator tries the door under load.
///
/// # Errors
/// An `auth-hole` for each stranger that was let in.
pub fn judge_door(knocks: &[(&str, Knock)]) -> Result<Vec<Proof>, Vec<Finding>> {
    let holes: Vec<Finding> = knocks
        .iter()
        .filter_map(|(who, knock)| match knock {
            Knock::LetIn(heard) => {
                let message = format!("the public door answered a call {who}: {heard}");
                Some(Finding::deterministic(FindingKind::AuthHole, message).with_evidence("door"))
            }
            Knock::Refused(_) | Knock::Undecided(_) => None,
        })
        .collect();
    if !holes.is_empty() {
        return Err(holes);
    }
    let proofs = knocks.iter().map(|(who, knock)| match knock {
        Knock::Refused(how) => {
            Proof { name: "door-refuses-stranger".to_owned(), detail: format!("a call {who} was refused: {how}") }
        }
        Knock::LetIn(why) | Knock::Undecided(why) => {
            Proof { name: "door-not-proved".to_owned(), detail: format!("a call {who}: {why}; the validator tries it") }
        }
    });
    Ok(proofs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use slipway_kernel::Cause;

    fn as_it_should_be(visitor: Visitor) -> Knock {
        match visitor {
            Visitor::Ingress => Knock::LetIn("gRPC".to_owned()),
            _ => Knock::Refused("alert".to_owned()),
        }
    }

    fn visits(workers: &[&str]) -> Vec<Visit> {
        let of = |worker: &&str| {
            let worker = (*worker).to_owned();
            Visitor::ALL.map(|visitor| Visit { worker: worker.clone(), visitor, knock: as_it_should_be(visitor) })
        };
        workers.iter().flat_map(of).collect()
    }

    #[test]
    fn closed_doors_that_open_to_the_ingress_are_proof() {
        let proofs = judge(&visits(&["a", "b"])).unwrap();
        assert_eq!(proofs.len(), 5);
        assert_eq!(proofs[1].name, "worker-refuses-no-certificate");
        assert_eq!(proofs[1].detail, "a call without a certificate was refused by 2 of 2 workers: alert");
    }

    #[test]
    fn each_thing_that_can_be_heard_has_its_finding() {
        for (visitor, knock, expected) in [
            (Visitor::Plaintext, Knock::LetIn("x".into()), Some((FindingKind::AuthHole, Cause::Deterministic))),
            (Visitor::NoCertificate, Knock::LetIn("x".into()), Some((FindingKind::AuthHole, Cause::Deterministic))),
            (Visitor::ForeignAuthority, Knock::LetIn("x".into()), Some((FindingKind::AuthHole, Cause::Deterministic))),
            (Visitor::OtherService, Knock::LetIn("x".into()), Some((FindingKind::AuthHole, Cause::Deterministic))),
            (
                Visitor::OtherService,
                Knock::Undecided("x".into()),
                Some((FindingKind::DependencyUnavailable, Cause::Transient)),
            ),
            (
                Visitor::Ingress,
                Knock::Refused("x".into()),
                Some((FindingKind::DependencyUnavailable, Cause::Transient)),
            ),
            (
                Visitor::Ingress,
                Knock::Undecided("x".into()),
                Some((FindingKind::DependencyUnavailable, Cause::Transient)),
            ),
            (Visitor::OtherService, Knock::Refused("x".into()), None),
            (Visitor::Ingress, Knock::LetIn("x".into()), None),
        ] {
            let mut visits = visits(&["a", "b"]);
            visits.iter_mut().rfind(|visit| visit.visitor == visitor).unwrap().knock = knock.clone();
            let found = judge(&visits).err().map(|findings| (findings[0].kind, findings[0].cause));
            assert_eq!(found, expected, "{visitor:?} {knock:?}");
        }
    }

    #[test]
    fn nothing_tried_is_nothing_proved() {
        assert_eq!(judge(&[]).unwrap_err().len(), 5);
        let without = |gone| visits(&["a"]).into_iter().filter(|visit| visit.visitor != gone).collect::<Vec<_>>();
        for gone in Visitor::ALL {
            assert!(judge(&without(gone)).is_err(), "{gone:?}");
        }
    }

    #[test]
    fn the_door_is_judged_by_what_it_says() {
        assert!(matches!(door(401), Knock::Refused(_)));
        assert!(matches!(door(403), Knock::Refused(_)));
        assert!(matches!(door(200), Knock::LetIn(_)));
        for status in [400, 404, 413, 429, 500, 503] {
            assert!(matches!(door(status), Knock::Undecided(_)), "{status}");
        }
        let proofs = judge_door(&[("without a key", door(401)), ("with a made-up key", door(404))]).unwrap();
        assert_eq!([proofs[0].name.as_str(), proofs[1].name.as_str()], ["door-refuses-stranger", "door-not-proved"]);
        let holes = judge_door(&[("without a key", door(200)), ("with a made-up key", door(401))]).unwrap_err();
        assert_eq!((holes.len(), holes[0].kind), (1, FindingKind::AuthHole));
    }

    proptest! {
        #[test]
        fn proof_means_that_every_stranger_was_refused_and_every_worker_served_the_ingress(
            knocks in proptest::collection::vec(0u8..3, 10)
        ) {
            let mut visits = visits(&["a", "b"]);
            for (visit, knock) in visits.iter_mut().zip(&knocks) {
                visit.knock = match knock {
                    0 => Knock::Refused("x".to_owned()),
                    1 => Knock::LetIn("x".to_owned()),
                    _ => Knock::Undecided("x".to_owned()),
                };
            }
            let proved = judge(&visits).is_ok();
            let good = visits.iter().all(|visit| match visit.visitor {
                Visitor::Ingress => matches!(visit.knock, Knock::LetIn(_)),
                _ => matches!(visit.knock, Knock::Refused(_)),
            });
            prop_assert_eq!(proved, good);
        }
    }
}
