//! Ids of requests that are left in a queue: made here, and proof of whose they are, so that nothing has to be kept for each of them until
//! its result is asked for.
//!
//! `<UUID version 7>-<8 bytes of an HMAC-SHA-256 over deployment, principal and UUID>`, both in hexadecimal digits. All replicas have the
//! same key, derived from the credential that they share; when that is replaced, the ids given before are not known any more.

use ring::hmac;
use slipway_kernel::{DeploymentId, Digest, RequestId, Timestamp};
use std::fmt::Write as _;
use uuid::Uuid;

/// Eight bytes: a guess costs a request, and what it gains is to hear "pending"; the result itself names whose it is.
const PROOF_BYTES: usize = 8;

/// Makes ids and knows them again.
#[derive(Debug)]
pub struct Tickets {
    key: hmac::Key,
}

impl Tickets {
    /// With the key that all replicas have.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// A new id for a request of `principal`.
    #[must_use]
    pub fn issue(&self, deployment: &DeploymentId, principal: &str) -> RequestId {
        self.signed(Uuid::now_v7(), deployment, principal)
    }

    /// The id of the request that was left at `place` of a stream: the same whenever it is delivered, and whoever asks for it.
    #[must_use]
    pub fn of_place(&self, place: u64, at: Timestamp, deployment: &DeploymentId, principal: &str) -> RequestId {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"place\n");
        context.update(&place.to_be_bytes());
        context.update(&at.0.to_be_bytes());
        let (mut random, digest) = ([0; 10], context.sign());
        random.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        let id = uuid::Builder::from_unix_timestamp_millis(at.0, &random).into_uuid();
        self.signed(id, deployment, principal)
    }

    /// What says to all replicas that `principal` sent `payload` to a deployment and was let in: for a request that is put aside without its
    /// credential, and comes again.
    #[must_use]
    pub fn vouch(&self, deployment: &DeploymentId, principal: &str, payload: &[u8]) -> String {
        let proof = hmac::sign(&self.key, &vouched(deployment, principal, payload));
        format!("{}.{principal}", hex::encode(proof))
    }

    /// Who sent `payload` to a deployment, if one of us vouched for it.
    #[must_use]
    pub fn vouched<'a>(&self, vouch: &'a str, deployment: &DeploymentId, payload: &[u8]) -> Option<&'a str> {
        let (proof, principal) = vouch.split_once('.')?;
        let proof = hex::decode(proof).ok()?;
        hmac::verify(&self.key, &vouched(deployment, principal, payload), &proof).ok().map(|()| principal)
    }

    fn signed(&self, id: Uuid, deployment: &DeploymentId, principal: &str) -> RequestId {
        let mut text = id.simple().to_string();
        text.push('-');
        for byte in self.proof(id, deployment, principal) {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.parse().unwrap_or_else(|_| unreachable!("`{text}` is a request id"))
    }

    /// When the request was accepted, if the id was made here for a request of `principal`.
    #[must_use]
    pub fn accepted_at(&self, id: &RequestId, deployment: &DeploymentId, principal: &str) -> Option<Timestamp> {
        let (uuid, given) = id.as_str().split_once('-')?;
        let uuid = Some(uuid).filter(|uuid| uuid.len() == 32).and_then(|uuid| Uuid::try_parse(uuid).ok())?;
        let given = Some(given).filter(|given| given.len() == 2 * PROOF_BYTES && given.is_ascii())?;
        let proof = self.proof(uuid, deployment, principal);
        // All of it is compared whatever differs, so that the time it takes says nothing.
        let differs = proof.iter().enumerate().fold(0, |differs, (at, byte)| {
            let given = given.get(2 * at..2 * at + 2).and_then(|given| u8::from_str_radix(given, 16).ok());
            differs | given.map_or(u8::MAX, |given| given ^ byte)
        });
        let (seconds, nanos) = uuid.get_timestamp().filter(|_| differs == 0)?.to_unix();
        Some(Timestamp(seconds.saturating_mul(1_000).saturating_add(u64::from(nanos / 1_000_000))))
    }

    fn proof(&self, id: Uuid, deployment: &DeploymentId, principal: &str) -> [u8; PROOF_BYTES] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(id.as_bytes());
        // Neither has a line end.
        for part in [deployment.namespace.as_str(), "\n", deployment.name.as_str(), "\n", principal] {
            context.update(part.as_bytes());
        }
        let mut proof = [0; PROOF_BYTES];
        proof.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        proof
    }
}

/// What is signed for a payload. An id begins with 16 bytes of a UUID where this has a word, so that neither is taken for the other.
fn vouched(deployment: &DeploymentId, principal: &str, payload: &[u8]) -> Vec<u8> {
    format!("a payload was let in\n{deployment}\n{principal}\n{}", Digest::of(payload)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_again_for_the_same_caller_at_the_same_deployment_only() {
        let (tickets, other): (Tickets, Tickets) = (Tickets::new(b"a"), Tickets::new(b"b"));
        let (digits, cats): (DeploymentId, DeploymentId) =
            ("default.digits".parse().unwrap(), "default.cats".parse().unwrap());
        let id = tickets.issue(&digits, "ann");
        assert!(tickets.accepted_at(&id, &digits, "ann").unwrap().0 > 1_700_000_000_000);
        assert_eq!(Tickets::new(b"a").accepted_at(&id, &digits, "ann"), tickets.accepted_at(&id, &digits, "ann"));
        assert_eq!(tickets.accepted_at(&id, &digits, "bob"), None);
        assert_eq!(tickets.accepted_at(&id, &cats, "ann"), None);
        assert_eq!(other.accepted_at(&id, &digits, "ann"), None);
        assert_ne!(tickets.issue(&digits, "ann"), id);
    }

    #[test]
    fn a_request_at_a_place_has_one_id_by_which_its_sender_is_known() {
        let (tickets, digits) = (Tickets::new(b"a"), "default.digits".parse().unwrap());
        let at = Timestamp(1_800_000_000_000);
        let id = tickets.of_place(7, at, &digits, "ann");
        assert_eq!(Tickets::new(b"a").of_place(7, at, &digits, "ann"), id);
        assert_eq!(tickets.accepted_at(&id, &digits, "ann"), Some(at));
        assert_eq!(tickets.accepted_at(&id, &digits, "bob"), None);
        assert_ne!(tickets.of_place(8, at, &digits, "ann"), id);
        assert_ne!(tickets.of_place(7, Timestamp(at.0 + 1), &digits, "ann"), id);
    }

    #[test]
    fn a_payload_is_vouched_for_as_it_is_from_whom_it_is_and_for_whom_it_is() {
        let (tickets, digits) = (Tickets::new(b"a"), "default.digits".parse().unwrap());
        let vouch = tickets.vouch(&digits, "jwt:a.b", b"x");
        assert_eq!(Tickets::new(b"a").vouched(&vouch, &digits, b"x"), Some("jwt:a.b"));
        assert_eq!(tickets.vouched(&vouch, &digits, b"y"), None);
        assert_eq!(tickets.vouched(&vouch, &"default.cats".parse().unwrap(), b"x"), None);
        assert_eq!(Tickets::new(b"b").vouched(&vouch, &digits, b"x"), None);
        for changed in [vouch.replace("jwt:a", "jwt:b"), vouch[1..].to_owned(), String::new(), ".".to_owned()] {
            assert_eq!(tickets.vouched(&changed, &digits, b"x"), None, "{changed}");
        }
    }

    #[test]
    fn an_id_that_was_changed_or_never_made_is_not_known() {
        let (tickets, digits) = (Tickets::new(b"a"), "default.digits".parse().unwrap());
        let id = tickets.issue(&digits, "ann").to_string();
        for at in (0..id.len()).filter(|at| *at != 32) {
            let digit = if &id[at..=at] == "0" { "1" } else { "0" };
            let changed = format!("{}{digit}{}", &id[..at], &id[at + 1..]);
            assert_eq!(tickets.accepted_at(&changed.parse().unwrap(), &digits, "ann"), None, "{changed}");
        }
        for made_up in [&id[..32], &id[1..], &format!("{id}0"), "r", "-", &format!("{}-", &id[..32])] {
            assert_eq!(tickets.accepted_at(&made_up.parse().unwrap(), &digits, "ann"), None, "{made_up}");
        }
    }
}
