//! What a request shows of who sent it. Exactly one credential, in a header; whatever is ambiguous is refused.

use http::{HeaderMap, Uri, header::AUTHORIZATION};

/// Header of an API key.
pub const API_KEY: &str = "slipway-api-key";
/// Header of a probe token.
pub const PROBE: &str = "slipway-probe";

/// Names under which clients put tokens into the query, where every log and proxy keeps them.
const IN_QUERY: [&str; 8] =
    ["access_token", "token", "id_token", "jwt", "authorization", "api_key", "apikey", "slipway-api-key"];

/// A credential as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// None.
    None,
    /// An API key.
    ApiKey(&'a str),
    /// A JSON Web Token.
    Token(&'a str),
    /// A probe token, the validator's mark.
    Probe(&'a str),
}

/// There is more than one credential, or one where none may be, or of a kind that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// Reads the credential of a request.
///
/// # Errors
/// [`Ambiguous`].
pub fn credential<'a>(headers: &'a HeaderMap, uri: &Uri) -> Result<Credential<'a>, Ambiguous> {
    if uri.query().is_some_and(has_token) {
        return Err(Ambiguous);
    }
    let found = [once(headers, AUTHORIZATION.as_str())?, once(headers, API_KEY)?, once(headers, PROBE)?];
    match found {
        [None, None, None] => Ok(Credential::None),
        [Some(authorization), None, None] => bearer(authorization),
        [None, Some(key), None] => Ok(Credential::ApiKey(key)),
        [None, None, Some(token)] => Ok(Credential::Probe(token)),
        _ => Err(Ambiguous),
    }
}

fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Ambiguous> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Ambiguous);
    }
    value.to_str().map(Some).map_err(|_| Ambiguous)
}

fn bearer(authorization: &str) -> Result<Credential<'_>, Ambiguous> {
    let (scheme, token) = authorization.split_once(' ').ok_or(Ambiguous)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains([' ', ',', '\t']) {
        return Err(Ambiguous);
    }
    Ok(if token.starts_with(super::api_key::PREFIX) { Credential::ApiKey(token) } else { Credential::Token(token) })
}

fn has_token(query: &str) -> bool {
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        IN_QUERY.iter().any(|token| name.eq_ignore_ascii_case(token))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(headers: &[(&'static str, &'static str)], uri: &str) -> Result<Credential<'static>, Ambiguous> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let map: &'static HeaderMap = Box::leak(Box::new(map));
        credential(map, &uri.parse().unwrap())
    }

    #[test]
    fn one_credential_is_read_by_its_kind() {
        for (headers, credential) in [
            (&[][..], Credential::None),
            (&[("authorization", "Bearer a.b.c")], Credential::Token("a.b.c")),
            (&[("authorization", "bearer a.b.c")], Credential::Token("a.b.c")),
            (&[("authorization", "Bearer slw_x")], Credential::ApiKey("slw_x")),
            (&[("slipway-api-key", "slw_x")], Credential::ApiKey("slw_x")),
            (&[("slipway-probe", "a.b")], Credential::Probe("a.b")),
            // What others may believe is nothing to us.
            (&[("slipway-principal", "admin"), ("x-forwarded-user", "admin")], Credential::None),
        ] {
            assert_eq!(read(headers, "/v2?verbose=1"), Ok(credential), "{headers:?}");
        }
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for headers in [
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")][..],
            &[("authorization", "Bearer a"), ("slipway-api-key", "slw_x")],
            &[("slipway-probe", "a"), ("slipway-probe", "b")],
            &[("slipway-probe", "a"), ("authorization", "Bearer b")],
            &[("authorization", "Basic YTpi")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer a, Bearer b")],
            &[("authorization", "Bearer  a")],
            &[("authorization", "")],
        ] {
            assert_eq!(read(headers, "/v2"), Err(Ambiguous), "{headers:?}");
        }
        for query in ["access_token=a", "x=1&TOKEN=a", "api_key", "jwt="] {
            assert_eq!(read(&[], &format!("/v2?{query}")), Err(Ambiguous), "{query}");
        }
    }
}
