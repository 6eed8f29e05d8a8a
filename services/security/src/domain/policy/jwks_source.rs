//! Where the keys of token issuers come from: whoever can change them can let himself in.

use super::{Policy, Subject, Violation, host, listed, scheme};

pub(super) const NAME: &str = "jwks-source";
const PATH: &str = "spec.access.jwt.jwks";

pub(super) fn check(subject: &Subject<'_>, policy: &Policy) -> Vec<Violation> {
    let Some(jwt) = &subject.spec.access.jwt else { return Vec::new() };
    match scheme(&jwt.jwks) {
        "file" => Vec::new(),
        "https" => {
            let host = host(&jwt.jwks);
            let listed_host = policy.jwks_hosts.iter().any(|one| one.eq_ignore_ascii_case(host));
            if policy.jwks_hosts.is_empty() || listed_host {
                return Vec::new();
            }
            let allowed = format!("a host of policy.jwks_hosts: {}", listed(&policy.jwks_hosts));
            vec![Violation::new(NAME, PATH, host, allowed)]
        }
        other => vec![Violation::new(NAME, PATH, &format!("{other}://…"), "https:// or file://")],
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{tests::broken, violations},
        *,
    };
    use crate::testing::{document, plan};
    use serde_json::{Value, json};

    fn spec(jwks: &str) -> Value {
        json!({ "access": { "jwt": { "issuer": "i", "audience": "a", "jwks": jwks } } })
    }

    #[test]
    fn keys_come_from_files_and_from_hosts_that_are_listed() {
        let none = [] as [&str; 0];
        assert_eq!(broken(&spec("https://issuer.example/keys"), &Policy::default()), none);
        let listed = Policy { jwks_hosts: vec!["Issuer.example".to_owned()], ..Policy::default() };
        assert_eq!(broken(&spec("https://issuer.example:8443/keys"), &listed), none);
        assert_eq!(broken(&spec("file:///etc/keys.json"), &listed), none);
        assert_eq!(broken(&spec("https://issuer.example.evil/keys"), &listed), [NAME]);
        assert_eq!(broken(&spec("https://evil/issuer.example"), &listed), [NAME]);
    }

    #[test]
    fn keys_over_plain_http_are_refused_even_if_the_gate_let_them_pass() {
        let mut document = document(&spec("https://issuer.example/keys"));
        document.spec.access.jwt.as_mut().unwrap().jwks = "http://issuer.example/keys".to_owned();
        let plan = plan();
        let subject = Subject { spec: &document.spec, plan: &plan, choice: None, approved: false, platform: None };
        let rules: Vec<_> = violations(&subject, &Policy::default()).iter().map(|violation| violation.rule).collect();
        assert!(rules.contains(&NAME), "{rules:?}");
    }
}
