//! Strangers at the door: callers without a credential, with a made-up one, or with a mark that is not the validator's.

use super::Tools;
use crate::{
    domain::judge::authentication::{Stranger, Treatment},
    door::{PROBE, REVISION},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use serde_json::json;
use slipway_bus::ProbeClaims;
use slipway_kernel::{DeploymentId, Timestamp};
use slipway_loadtest::Reply;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const API_KEY: HeaderName = HeaderName::from_static("slipway-api-key");
/// Tries in quiet until it is clear how a stranger is treated.
const TRIES: u32 = 5;
/// Pause between rounds: eight strangers four times a second are no load of their own.
const PAUSE: Duration = Duration::from_millis(250);
/// How long made-up tokens claim to hold.
const LIFE: Duration = Duration::from_secs(300);

/// Who comes, with what.
pub(crate) struct Visitor {
    who: &'static str,
    headers: HeaderMap,
}

/// Everybody who must be kept out. Where anybody may come in, those without a credential of ours are no strangers; who asks
/// for an unreleased revision without the mark always is.
pub(crate) fn visitors(tools: &Tools) -> Vec<Visitor> {
    let mut visitors = Vec::new();
    let mut add = |who, header: Option<(HeaderName, String)>, asks_for_revision: bool| {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            let Ok(value) = HeaderValue::try_from(value) else {
                return;
            };
            headers.insert(name, value);
        }
        if asks_for_revision {
            headers.insert(REVISION, tools.door.revision_header());
        }
        visitors.push(Visitor { who, headers });
    };
    let bearer = |token: String| Some((AUTHORIZATION, format!("Bearer {token}")));
    let now = now();
    if !tools.assignment.access.anonymous {
        add("no credential", None, false);
        add("an API key that was never issued", bearer(format!("slw_{}", secret())), false);
        add("an API key that was never issued, in its own header", Some((API_KEY, format!("slw_{}", secret()))), false);
        add("a JWT with alg none", bearer(jwt(tools, "none", "", now)), false);
        add("a JWT with a made-up signature", bearer(jwt(tools, "HS256", &secret(), now)), false);
    }
    add("nobody, asking for the unreleased revision", None, true);
    if let Some(forged) = forged_mark(&tools.assignment.deployment, now) {
        add("a probe token of a stranger's key", Some((PROBE, forged)), true);
    }
    if let Some(foreign) = foreign_mark(tools) {
        add("a probe token for another deployment", Some((PROBE, foreign)), true);
    }
    visitors
}

/// Lets everybody try in quiet until each is clearly treated, or tries run out.
pub(crate) async fn in_quiet(tools: &Tools, visitors: &[Visitor], body: &Bytes) -> Vec<Stranger> {
    let mut strangers: Vec<Stranger> = visitors.iter().map(|visitor| Stranger::new(visitor.who)).collect();
    for attempt in 0..TRIES {
        for (visitor, stranger) in visitors.iter().zip(&mut strangers) {
            if stranger.kept_out + stranger.let_in == 0 {
                stranger.count(knock(tools, visitor, body).await);
            }
        }
        if strangers.iter().all(|stranger| stranger.kept_out + stranger.let_in > 0) || attempt + 1 == TRIES {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    strangers
}

/// Lets everybody try again and again while `load` goes on, at least once; returns what the load returned.
pub(crate) async fn beside<T>(
    tools: &Tools,
    visitors: &[Visitor],
    body: &Bytes,
    strangers: &mut [Stranger],
    load: impl Future<Output = T>,
) -> T {
    let mut load = std::pin::pin!(load);
    let mut loaded = None;
    loop {
        for (visitor, stranger) in visitors.iter().zip(strangers.iter_mut()) {
            let knocking = knock(tools, visitor, body);
            let mut knocking = std::pin::pin!(knocking);
            loop {
                tokio::select! {
                    treatment = &mut knocking => {
                        stranger.count(treatment);
                        break;
                    }
                    result = &mut load, if loaded.is_none() => loaded = Some(result),
                }
            }
        }
        if let Some(result) = loaded.take() {
            return result;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            result = &mut load => return result,
        }
    }
}

async fn knock(tools: &Tools, visitor: &Visitor, body: &Bytes) -> Treatment {
    match tools.client.send(tools.door.stranger(body.clone(), visitor.headers.clone())).await {
        Ok(reply) => treatment(tools, &reply),
        Err(class) => Treatment::Unclear(class.to_string()),
    }
}

fn treatment(tools: &Tools, reply: &Reply) -> Treatment {
    match reply.status.as_u16() {
        401 | 403 => Treatment::KeptOut,
        // Nothing is released under this name: there is nothing to come into.
        404 if tools.assignment.live.is_none() && !tools.assignment.in_production => Treatment::KeptOut,
        // Where anybody may come in, the revision in production may answer anybody; the one that is proved may not.
        status if reply.status.is_success() => {
            let answered_by_another = tools.door.is_of_revision(reply) == Some(false);
            if tools.assignment.access.anonymous && (answered_by_another || tools.assignment.in_production) {
                Treatment::KeptOut
            } else {
                Treatment::LetIn(status)
            }
        }
        status => Treatment::Unclear(format!("status {status}")),
    }
}

/// 32 random bytes as text: the form of our keys, and of a signature.
fn secret() -> String {
    let halves = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    URL_SAFE_NO_PAD.encode(halves.map(uuid::Uuid::into_bytes).concat())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A token with the right issuer and audience, as far as the spec names them, and no right signature.
fn jwt(tools: &Tools, algorithm: &str, signature: &str, now: Timestamp) -> String {
    let (issuer, audience) =
        tools.assignment.access.jwt.as_ref().map_or(("slipway", "slipway"), |jwt| (&jwt.issuer, &jwt.audience));
    let seconds = now.0 / 1_000;
    let claims = json!({
        "iss": issuer, "aud": audience, "sub": "a-stranger", "iat": seconds, "exp": seconds + LIFE.as_secs(),
    });
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(json!({ "alg": algorithm, "typ": "JWT" })), part(claims))
}

/// A mark that says what ours would say, signed with a key that was made a moment ago.
fn forged_mark(deployment: &DeploymentId, now: Timestamp) -> Option<String> {
    let claims = ProbeClaims { deployment: deployment.to_string(), expires: now.after(LIFE) };
    let body = serde_json::to_vec(&claims).ok()?;
    let signature = nkeys::KeyPair::new_user().sign(&body).ok()?;
    Some(format!("{}.{}", URL_SAFE_NO_PAD.encode(body), URL_SAFE_NO_PAD.encode(signature)))
}

/// A true mark of ours for a deployment of another name.
fn foreign_mark(tools: &Tools) -> Option<String> {
    let mut other = tools.assignment.deployment.clone();
    other.name = if other.name.as_str() == "x" { "y" } else { "x" }.parse().ok()?;
    tools.world.pass(&other).ok()
}
