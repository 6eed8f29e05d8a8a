//! What a certificate request may hold: exactly the identity asked for, the names asked for, a good key, and no more.

use super::{Application, Denial, PeerId, Reason, Usage, shortened};
use std::{collections::BTreeSet, fmt, net::IpAddr};

/// The most names beside the identity: a process listens on a few addresses.
const MAX_NAMES: usize = 8;

/// What was read from a certificate request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// Its public key.
    pub key: Key,
    /// Whether it is signed by that key: whoever asks has the key.
    pub signed: bool,
    /// URIs.
    pub uris: Vec<String>,
    /// DNS names.
    pub hosts: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// How many names of other kinds.
    pub other_names: usize,
    /// Whether it asks to sign certificates itself.
    pub authority: bool,
}

/// Why a certificate request could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

/// The kinds of public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA with so many bits.
    Rsa(usize),
    /// Another.
    Other,
}

impl Key {
    /// Those with 128 bits of strength or more whose keys are made in microseconds: a worker makes one at each start. RSA is
    /// neither.
    const fn is_accepted(self) -> bool {
        matches!(self, Self::P256 | Self::P384 | Self::Ed25519)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("ECDSA P-256"),
            Self::P384 => f.write_str("ECDSA P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa(bits) => write!(f, "RSA with {bits} bits"),
            Self::Other => f.write_str("of another kind"),
        }
    }
}

/// The names that go into the certificate.
pub(super) struct Names {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) hosts: Vec<String>,
}

/// Checks the request against what was asked for.
pub(super) fn check(application: &Application<'_>, usage: Usage) -> Result<Names, Denial> {
    let facts = application
        .request
        .map_err(|Unreadable(why)| Denial::new(Reason::Unreadable, format!("no PKCS#10 request: {why}")))?;
    if !facts.key.is_accepted() {
        let detail = format!("the key is {}; accepted: ECDSA P-256, ECDSA P-384, Ed25519", facts.key);
        return Err(Denial::new(Reason::WeakKey, detail));
    }
    if !facts.signed {
        return Err(Denial::new(Reason::BadSignature, "the request is not signed by its own key"));
    }
    if facts.authority {
        return Err(Denial::new(Reason::WantsAuthority, "only security signs certificates"));
    }
    identity(application, facts)?;
    same_names(application, facts)?;
    hosts(application, facts, usage)?;
    Ok(Names { addresses: facts.addresses.clone(), hosts: facts.hosts.clone() })
}

fn identity(application: &Application<'_>, facts: &RequestFacts) -> Result<(), Denial> {
    match facts.uris.as_slice() {
        [uri] if uri == application.subject && facts.other_names == 0 => Ok(()),
        uris => Err(Denial::new(
            Reason::WrongNames,
            format!(
                "the request holds {} URIs and {} names of other kinds; it must hold one URI: {}",
                uris.len(),
                facts.other_names,
                shortened(application.subject)
            ),
        )),
    }
}

/// What is asked for beside the request and what stands in it is the same, in any order.
fn same_names(application: &Application<'_>, facts: &RequestFacts) -> Result<(), Denial> {
    if application.names.len() > MAX_NAMES {
        let detail = format!("{} names; at most {MAX_NAMES}", application.names.len());
        return Err(Denial::new(Reason::WrongNames, detail));
    }
    let asked: BTreeSet<String> = application.names.iter().map(|name| canonical(name)).collect();
    let found: BTreeSet<String> =
        facts.hosts.iter().map(|host| canonical(host)).chain(facts.addresses.iter().map(ToString::to_string)).collect();
    if asked == found {
        return Ok(());
    }
    let strange = found.symmetric_difference(&asked).next().map(|name| shortened(name)).unwrap_or_default();
    Err(Denial::new(
        Reason::WrongNames,
        format!("{strange:?} stands in only one of the request and the names asked for"),
    ))
}

/// One spelling of an address or host name.
fn canonical(name: &str) -> String {
    name.parse::<IpAddr>().map_or_else(|_| name.to_ascii_lowercase(), |address| address.to_string())
}

/// Host names are for clients that know nothing else. A worker has none: the mesh calls it by address and knows it by its
/// identity, and a worker with the name of the public door could stand in for it.
fn hosts(application: &Application<'_>, facts: &RequestFacts, usage: Usage) -> Result<(), Denial> {
    let allowed: &[String] = match application.id {
        Some(PeerId::Service(_)) if usage != Usage::Client => application.hosts,
        _ => &[],
    };
    let strange = facts.hosts.iter().find(|host| !allowed.iter().any(|one| one.eq_ignore_ascii_case(host)));
    match strange {
        None => Ok(()),
        Some(host) => {
            let listed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
            let detail = format!("the host name {:?} is not allowed; allowed: {listed}", shortened(host));
            Err(Denial::new(Reason::WrongNames, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity::{
        Claim, Requester, Standing, Verdict, decide,
        tests::{honest, worker},
    };
    use slipway_kernel::Service;

    const WORKER: &str = "spiffe://slipway/ns/default/deployment/digits/revision/1-1";

    fn reason(change: impl FnOnce(&mut RequestFacts)) -> Option<Reason> {
        reason_with(&["127.0.0.1"], change)
    }

    fn reason_with(names: &[&str], change: impl FnOnce(&mut RequestFacts)) -> Option<Reason> {
        let id = worker("1-1");
        let mut facts = honest(WORKER);
        facts.addresses.push("127.0.0.1".parse().unwrap());
        change(&mut facts);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let verdict = decide(&Application {
            requester: Requester::Service(Service::InferenceWorker),
            subject: WORKER,
            id: Some(&id),
            names: &names,
            request: Ok(&facts),
            claim: Some(Claim { standing: Standing::Live, registered: true }),
            hosts: &["localhost".to_owned()],
        });
        match verdict {
            Verdict::Grant(_) => None,
            Verdict::Refuse(denial) | Verdict::NotYet(denial) => Some(denial.reason),
        }
    }

    #[test]
    fn an_honest_request_is_granted_and_each_deviation_has_its_reason() {
        let uri = |uri: &str| uri.to_owned();
        assert_eq!(reason(|_| ()), None);
        assert_eq!(reason(|facts| facts.key = Key::P384), None);
        assert_eq!(reason(|facts| facts.key = Key::Ed25519), None);
        assert_eq!(reason(|facts| facts.key = Key::Rsa(4_096)), Some(Reason::WeakKey));
        assert_eq!(reason(|facts| facts.key = Key::Other), Some(Reason::WeakKey));
        assert_eq!(reason(|facts| facts.signed = false), Some(Reason::BadSignature));
        assert_eq!(reason(|facts| facts.authority = true), Some(Reason::WantsAuthority));
        assert_eq!(reason(|facts| facts.uris.clear()), Some(Reason::WrongNames));
        assert_eq!(reason(|facts| facts.uris.push(uri("spiffe://slipway/service/ingress"))), Some(Reason::WrongNames));
        assert_eq!(
            reason(|facts| facts.uris = vec![uri("spiffe://slipway/service/ingress")]),
            Some(Reason::WrongNames)
        );
        assert_eq!(reason(|facts| facts.uris = vec![WORKER.to_uppercase()]), Some(Reason::WrongNames));
        assert_eq!(reason(|facts| facts.other_names = 1), Some(Reason::WrongNames));
        assert_eq!(reason(|facts| facts.addresses.clear()), Some(Reason::WrongNames));
        assert_eq!(reason(|facts| facts.addresses.push("10.0.0.1".parse().unwrap())), Some(Reason::WrongNames));
        assert_eq!(
            reason_with(&["127.0.0.1", "localhost"], |f| f.hosts.push(uri("localhost"))),
            Some(Reason::WrongNames)
        );
        assert_eq!(reason_with(&["127.0.0.1"; 9], |_| ()), Some(Reason::WrongNames));
    }

    #[test]
    fn a_request_that_cannot_be_read_is_refused() {
        let (id, unreadable) = (PeerId::Service(Service::Ingress), Unreadable("not PEM".to_owned()));
        let application = Application {
            requester: Requester::Service(Service::Ingress),
            subject: "spiffe://slipway/service/ingress",
            id: Some(&id),
            names: &[],
            request: Err(&unreadable),
            claim: None,
            hosts: &[],
        };
        let Verdict::Refuse(denial) = decide(&application) else { panic!() };
        assert_eq!(denial.to_string(), "unreadable: no PKCS#10 request: not PEM");
    }

    #[test]
    fn a_service_that_serves_may_have_the_hosts_that_are_configured() {
        let subject = "spiffe://slipway/service/ingress";
        let id = PeerId::Service(Service::Ingress);
        let mut facts = honest(subject);
        facts.hosts.push("models.example".to_owned());
        facts.addresses.push("::1".parse().unwrap());
        let names = ["Models.Example".to_owned(), "0:0::1".to_owned()];
        let mut application = Application {
            requester: Requester::Service(Service::Ingress),
            subject,
            id: Some(&id),
            names: &names,
            request: Ok(&facts),
            claim: None,
            hosts: &["models.example".to_owned()],
        };
        assert!(matches!(decide(&application), Verdict::Grant(_)));
        application.hosts = &[];
        assert!(matches!(decide(&application), Verdict::Refuse(Denial { reason: Reason::WrongNames, .. })));
    }
}
