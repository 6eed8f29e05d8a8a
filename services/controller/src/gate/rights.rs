//! Who may demand what: from a verified key to an actor with namespaces and verbs.

use super::refused::Refused;
use serde::{Deserialize, Serialize};
use slipway_bus::{Credential, Verb};
use slipway_kernel::{Namespace, Refusal};

/// One who may send demands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalConfig {
    /// The public key (`U…`) whose signature proves the sender.
    pub key: String,
    /// The name that goes into facts. A pseudonym: facts are kept for good.
    pub actor: String,
    /// Namespaces it may act in; `*` = all.
    pub namespaces: Vec<String>,
    /// What it may demand; `*` = everything.
    pub verbs: Vec<String>,
}

impl PrincipalConfig {
    /// What the types cannot say.
    pub(crate) fn check(&self, path: &str, refusals: &mut Vec<Refusal>) {
        let mut unless = |holds: bool, key: &str, value: &str, allowed: &str| {
            if !holds {
                refusals.push(Refusal::new(format!("{path}.{key}"), value, allowed));
            }
        };
        let is_key = nkeys::KeyPair::from_public_key(&self.key).is_ok() && self.key.starts_with('U');
        unless(is_key, "key", &self.key, "a public user nkey, U and 55 characters");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
        let is_name = (1..=128).contains(&self.actor.len()) && self.actor.chars().all(plain);
        unless(is_name, "actor", &self.actor, "1 to 128 characters a-z, A-Z, 0-9 and -_./:");
        for namespace in &self.namespaces {
            let known = namespace == "*" || namespace.parse::<Namespace>().is_ok();
            unless(known, "namespaces", namespace, "a namespace, or *");
        }
        for verb in &self.verbs {
            let known = verb == "*" || verb.parse::<Verb>().is_ok();
            unless(known, "verbs", verb, &format!("*, {}", Verb::ALL.map(|verb| verb.to_string()).join(", ")));
        }
    }

    fn may(&self, namespace: &Namespace, verb: Verb) -> bool {
        let covers = |list: &[String], what: &str| list.iter().any(|one| one == "*" || one == what);
        covers(&self.namespaces, namespace.as_str()) && covers(&self.verbs, verb.as_str())
    }
}

/// Finds who sent a demand and whether he may. Returns the actor.
///
/// # Errors
/// `unauthenticated` or `permission-denied`.
pub fn authorize<'a>(
    principals: &'a [PrincipalConfig],
    credential: &Credential,
    namespace: &Namespace,
    verb: Verb,
) -> Result<&'a str, Refused> {
    let key = match credential {
        Credential::Verified(key) => &key.public,
        Credential::None => return Err(Refused::Unauthenticated("the demand is not signed".to_owned())),
        Credential::Invalid(reason) => {
            return Err(Refused::Unauthenticated(format!("the signature does not hold: {reason}")));
        }
    };
    let Some(principal) = principals.iter().find(|principal| principal.key == *key) else {
        return Err(Refused::PermissionDenied("this key has no rights here".to_owned()));
    };
    if principal.may(namespace, verb) {
        return Ok(&principal.actor);
    }
    let message = format!("`{}` may not `{verb}` in namespace `{namespace}`", principal.actor);
    Err(Refused::PermissionDenied(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_bus::VerifiedKey;

    fn key(n: u8) -> String {
        nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, [n; 32]).unwrap().public_key()
    }

    fn principal(n: u8, namespaces: &[&str], verbs: &[&str]) -> PrincipalConfig {
        let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        PrincipalConfig { key: key(n), actor: format!("actor-{n}"), namespaces: owned(namespaces), verbs: owned(verbs) }
    }

    #[test]
    fn a_verified_key_gets_what_its_rights_say_and_nothing_else() {
        let principals = [principal(1, &["*"], &["*"]), principal(2, &["team-b"], &["deploy", "rollback"])];
        let verified = |n| Credential::Verified(VerifiedKey { public: key(n) });
        for (credential, namespace, verb, expected) in [
            (verified(1), "default", Verb::Annul, Ok("actor-1")),
            (verified(2), "team-b", Verb::Deploy, Ok("actor-2")),
            (verified(2), "team-b", Verb::Rollback, Ok("actor-2")),
            (verified(2), "team-b", Verb::Retire, Err("permission-denied")),
            (verified(2), "team", Verb::Deploy, Err("permission-denied")),
            (verified(3), "team-b", Verb::Deploy, Err("permission-denied")),
            (Credential::None, "default", Verb::Deploy, Err("unauthenticated")),
            (Credential::Invalid("altered".into()), "default", Verb::Deploy, Err("unauthenticated")),
        ] {
            let found = authorize(&principals, &credential, &namespace.parse().unwrap(), verb);
            assert_eq!(found.map_err(|refused| refused.name()), expected, "{credential:?} {namespace} {verb}");
        }
    }

    #[test]
    fn a_principal_that_makes_no_sense_is_refused_with_every_reason() {
        let wrong = PrincipalConfig {
            key: "UABC".into(),
            actor: "a b".into(),
            namespaces: vec!["Team".into()],
            verbs: vec!["destroy".into()],
        };
        let mut refusals = Vec::new();
        wrong.check("gate.principals[0]", &mut refusals);
        let paths: Vec<_> = refusals.iter().map(|r| r.path.as_str()).collect();
        let all = ["key", "actor", "namespaces", "verbs"].map(|key| format!("gate.principals[0].{key}"));
        assert_eq!(paths, all);
        let mut none = Vec::new();
        principal(1, &["*", "a"], &["*", "deploy"]).check("p", &mut none);
        assert_eq!(none, []);
    }
}
