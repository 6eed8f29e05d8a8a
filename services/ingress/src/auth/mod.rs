//! Who sends a request: one credential, checked against the rules of the deployment it addresses.
//!
//! Whatever is wrong with a credential, its sender is told the same, after the same time.

pub mod api_key;
pub mod credential;
pub mod issuers;
pub mod outbound;
pub mod probe;
pub mod public_key;
pub mod source_address;
pub mod token;

use crate::{
    error::RequestError,
    limits,
    table::{Entry, Rules},
};
use api_key::ApiKeys;
use credential::Credential;
use http::{HeaderMap, Uri};
use issuers::Issuers;
use probe::{Prober, Probes};
use slipway_kernel::{DeploymentId, Timestamp, spec::Jwt};
use std::net::IpAddr;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As whom the rate limit, the workers and the results know it: `anonymous`, `api-key:…` (as security
    /// says), `jwt:…`, `service:…`. Visible ASCII.
    pub principal: String,
    /// Set for marked traffic.
    pub prober: Option<Prober>,
}

/// Checks credentials.
#[derive(Debug)]
pub struct Authenticator {
    /// The API keys of all deployments.
    pub api_keys: ApiKeys,
    /// The keys of token issuers.
    pub issuers: Issuers,
    /// The mark of validation traffic.
    pub probes: Probes,
}

/// What a request shows, and when and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The address asked for.
    pub uri: &'a Uri,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// When the request arrived.
    pub arrived: Instant,
}

impl Authenticator {
    /// Who sends the request.
    ///
    /// # Errors
    /// [`RequestError::Unauthenticated`], always after the same time; [`RequestError::SourceAddress`];
    /// [`RequestError::KeysUnavailable`].
    pub async fn caller(
        &self,
        shown: Shown<'_>,
        deployment: &DeploymentId,
        rules: &Rules,
        now: Timestamp,
    ) -> Result<Caller, RequestError> {
        let checked = match credential::credential(shown.headers, shown.uri) {
            Ok(credential) => self.check(credential, deployment, rules, now).await,
            Err(credential::Ambiguous) => Err(RequestError::Unauthenticated),
        };
        // Marked traffic comes from the mesh, whatever the spec says about the networks of clients.
        let from_mesh = checked.as_ref().is_ok_and(|caller| caller.prober.is_some());
        if !from_mesh && !source_address::is_allowed(&rules.allow_from, shown.peer) {
            return Err(RequestError::SourceAddress);
        }
        if let Err(RequestError::Unauthenticated) = &checked {
            sleep_until(shown.arrived + limits::REFUSAL_AFTER).await;
        }
        checked
    }

    async fn check(
        &self,
        credential: Credential<'_>,
        deployment: &DeploymentId,
        rules: &Rules,
        now: Timestamp,
    ) -> Result<Caller, RequestError> {
        let access = &rules.access;
        let client = |principal: String| Caller { principal: visible(&principal), prober: None };
        match credential {
            Credential::None if access.anonymous => Ok(client("anonymous".to_owned())),
            Credential::ApiKey(key) if access.api_keys => {
                let principal = self.api_keys.principal(deployment, key, now);
                principal.map(client).ok_or(RequestError::Unauthenticated)
            }
            Credential::Token(token) => match &access.jwt {
                Some(jwt) => self.subject(token, jwt, now).await.map(|subject| client(format!("jwt:{subject}"))),
                None => Err(RequestError::Unauthenticated),
            },
            Credential::Probe(token) => match self.probes.check(token, deployment, now) {
                Some(prober) => Ok(Caller { principal: prober.principal().to_owned(), prober: Some(prober) }),
                None => Err(RequestError::Unauthenticated),
            },
            // A wrong credential is not as good as none, even where none is needed.
            Credential::None | Credential::ApiKey(_) => Err(RequestError::Unauthenticated),
        }
    }

    async fn subject(&self, token: &str, jwt: &Jwt, now: Timestamp) -> Result<String, RequestError> {
        let refused = |error: token::TokenError| {
            debug!(%error, "a token was refused");
            RequestError::Unauthenticated
        };
        let token = token::read(token).map_err(refused)?;
        let keys =
            self.issuers.keys(&jwt.jwks, |keys| token::key_for(&token, keys).is_ok()).await.map_err(|error| {
                debug!(%error, "tokens cannot be checked");
                RequestError::KeysUnavailable
            })?;
        let verified = token::key_for(&token, &keys).and_then(|key| token::verify(&token, key, jwt, now));
        verified.map(|token::Subject(subject)| subject).map_err(refused)
    }
}

/// The ways in that a spec opens, for people.
#[must_use]
pub fn methods(entry: &Rules) -> String {
    let access = &entry.access;
    let ways = [(access.api_keys, "api-keys"), (access.jwt.is_some(), "jwt"), (access.anonymous, "anonymous")];
    ways.into_iter().filter(|(open, _)| *open).map(|(_, name)| name).collect::<Vec<_>>().join(", ")
}

/// The locations of issuers' keys that the deployments of a table name.
pub fn locations<'a>(entries: impl Iterator<Item = &'a Entry>) -> std::collections::BTreeSet<String> {
    let targets = entries.flat_map(|entry| entry.targets.values());
    targets.filter_map(|target| target.rules.access.jwt.as_ref()).map(|jwt| jwt.jwks.clone()).collect()
}

/// The text in visible ASCII, everything else as `%XX`: a subject of a token may be any text, a metadata value may not.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            visible.push(char::from(byte));
        } else {
            visible.push_str(&format!("%{byte:02X}"));
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::{
        api_key::tests::{KEY, keys},
        token::tests::{Issuer, NOW, wanted},
        *,
    };
    use crate::config::AuthConfig;
    use http::HeaderValue;
    use slipway_kernel::spec::{Access, Record};
    use std::time::Duration;

    struct Gate {
        authenticator: Authenticator,
        rules: Rules,
        issuer: Issuer,
        id: DeploymentId,
        _folder: tempfile::TempDir,
    }

    impl Gate {
        fn new(anonymous: bool) -> Self {
            slipway_runtime::tls::install_provider();
            let (folder, issuer, id) = (tempfile::tempdir().unwrap(), Issuer::new(), "a.d".parse().unwrap());
            let path = folder.path().join("jwks.json");
            std::fs::write(&path, issuer.jwks()).unwrap();
            let jwt = Some(Jwt { jwks: format!("file://{}", path.display()), ..wanted() });
            let access = Access { anonymous, api_keys: true, jwt, ..Access::default() };
            let rules = Rules {
                access,
                allow_from: Vec::new(),
                max_body: 1,
                timeout: Duration::from_secs(1),
                record: Record::default(),
                cache: None,
                hedge_after: None,
                nats: false,
            };
            let authenticator = Authenticator {
                api_keys: keys(&id, KEY, None),
                issuers: Issuers::new(outbound::Outbound::new(&AuthConfig::default()).unwrap()),
                probes: Probes::new(Vec::new()),
            };
            Self { authenticator, rules, issuer, id, _folder: folder }
        }

        async fn caller(&self, headers: &[(&'static str, &str)]) -> Result<Caller, RequestError> {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_str(value).unwrap());
            }
            let shown = Shown {
                headers: &map,
                uri: &Uri::from_static("/v2"),
                peer: IpAddr::from([127, 0, 0, 1]),
                arrived: Instant::now(),
            };
            self.authenticator.caller(shown, &self.id, &self.rules, NOW).await
        }

        async fn refused_after(&self, headers: &[(&'static str, &str)]) -> Duration {
            let begun = Instant::now();
            let refused = self.caller(headers).await;
            assert!(matches!(refused, Err(RequestError::Unauthenticated)), "{headers:?}: {refused:?}");
            begun.elapsed()
        }
    }

    #[tokio::test]
    async fn each_way_in_leads_to_its_principal() {
        let gate = Gate::new(true);
        let token = format!("Bearer {}", gate.issuer.token(NOW.0 / 1_000 + 60));
        let bearer_key = format!("Bearer {KEY}");
        let own = gate.authenticator.probes.own().to_owned();
        for (headers, principal) in [
            (&[][..], "anonymous"),
            (&[("slipway-api-key", KEY)], "api-key:key-1"),
            (&[("authorization", bearer_key.as_str())], "api-key:key-1"),
            (&[("authorization", token.as_str())], "jwt:robot"),
            (&[("slipway-probe", own.as_str())], "service:ingress"),
        ] {
            assert_eq!(gate.caller(headers).await.unwrap().principal, principal);
        }
    }

    #[tokio::test]
    async fn a_wrong_credential_is_refused_even_where_none_is_needed_and_always_after_the_same_time() {
        let gate = Gate::new(true);
        let stranger = format!("Bearer {}", Issuer::new().token(NOW.0 / 1_000 + 60));
        let expired = format!("Bearer {}", gate.issuer.token(NOW.0 / 1_000 - 60));
        let other_key = KEY.replace('a', "b");
        for headers in [
            &[("authorization", stranger.as_str())][..],
            &[("authorization", expired.as_str())],
            &[("authorization", "Bearer x")],
            &[("authorization", "Basic x")],
            &[("slipway-api-key", other_key.as_str())],
            &[("slipway-probe", "own.0000")],
            &[("slipway-probe", "e30.AAAA")],
        ] {
            assert!(gate.refused_after(headers).await >= limits::REFUSAL_AFTER);
        }
    }

    #[tokio::test]
    async fn nothing_is_refused_where_a_credential_is_needed() {
        let gate = Gate::new(false);
        assert!(gate.refused_after(&[]).await >= limits::REFUSAL_AFTER);
        let mut closed = Gate::new(false);
        closed.rules.access.api_keys = false;
        closed.refused_after(&[("slipway-api-key", KEY)]).await;
        closed.rules.access.jwt = None;
        let token = format!("Bearer {}", closed.issuer.token(NOW.0 / 1_000 + 60));
        closed.refused_after(&[("authorization", token.as_str())]).await;
    }

    #[tokio::test]
    async fn the_network_is_asked_about_everybody_but_the_mesh() {
        let mut gate = Gate::new(true);
        gate.rules.allow_from = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(matches!(gate.caller(&[]).await, Err(RequestError::SourceAddress)));
        assert!(matches!(gate.caller(&[("slipway-api-key", KEY)]).await, Err(RequestError::SourceAddress)));
        let own = gate.authenticator.probes.own().to_owned();
        assert!(gate.caller(&[("slipway-probe", own.as_str())]).await.is_ok());
    }

    #[test]
    fn a_subject_of_any_text_becomes_visible() {
        assert_eq!(visible("jwt:a b\r\nä%"), "jwt:a%20b%0D%0A%C3%A4%25");
        assert_eq!(visible("jwt:auth0|5f7c"), "jwt:auth0|5f7c");
    }
}
