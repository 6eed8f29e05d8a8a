//! What a URI names. The gate has refused the worst already; nothing here relies on it.

use super::FetchError;
use slipway_kernel::{
    Digest,
    spec::{BLOB, blob_digest},
};
use std::path::{Component, PathBuf};
use url::{Host, Url};

/// Longest URI; the gate's limit too.
const LONGEST: usize = 2_048;
/// The largest object name and bucket name, in bytes.
const LONGEST_OBJECT: usize = 512;
/// Buckets of Slipway itself begin with this; what lies there belongs to all deployments and to none.
const OWN_BUCKETS: &str = "slipway-";

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On this machine.
    File(PathBuf),
    /// On a web server.
    Https(Url),
    /// In an object store of the broker.
    Object {
        /// The bucket.
        bucket: String,
        /// The object.
        name: String,
    },
    /// In the mesh's own store, where `slipway deploy` puts files of another machine.
    Blob(Digest),
}

impl Source {
    /// Reads a URI.
    ///
    /// # Errors
    /// [`FetchError::NotAllowed`], when it is none that may be asked.
    pub fn parse(uri: &str) -> Result<Self, FetchError> {
        const SCHEMES: &str =
            "use file:///absolute/path, https://host/path, nats-object://bucket/name or blob://sha256";
        if uri.len() > LONGEST || uri.chars().any(|c| c.is_control() || c == '\\' || c == ' ') {
            return Err(FetchError::not_allowed(
                "the address is too long or holds characters that no address has",
                SCHEMES,
            ));
        }
        if let Some(rest) = uri.strip_prefix("nats-object://") {
            return object(rest);
        }
        if uri.starts_with(BLOB) {
            let named = blob_digest(uri).map(Self::Blob);
            return named.ok_or_else(|| FetchError::not_allowed("the address names no digest", "use blob://sha256"));
        }
        let url = Url::parse(uri)
            .map_err(|error| FetchError::not_allowed(format!("the address is none: {error}"), SCHEMES))?;
        match url.scheme() {
            "file" => file(&url),
            "https" => https(url),
            other => Err(FetchError::not_allowed(format!("`{other}` is no scheme that is fetched"), SCHEMES)),
        }
    }
}

fn file(url: &Url) -> Result<Source, FetchError> {
    let refuse = |reason: &str| FetchError::not_allowed(reason, "use file:///absolute/path");
    if url.host().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("a file has no host, query or fragment"));
    }
    let path = url.to_file_path().map_err(|()| refuse("the path is not absolute"))?;
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !plain || path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(refuse("the path leaves its folder"));
    }
    Ok(Source::File(path))
}

fn https(url: Url) -> Result<Source, FetchError> {
    let refuse = |reason: &str| FetchError::not_allowed(reason, "use https://host/path");
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("the address holds a user or password"));
    }
    match url.host() {
        None => Err(refuse("the address names no host")),
        Some(Host::Domain(name)) if name.trim_end_matches('.').is_empty() => Err(refuse("the address names no host")),
        Some(_) => Ok(Source::Https(url)),
    }
}

fn object(rest: &str) -> Result<Source, FetchError> {
    let refuse = |reason: String| FetchError::not_allowed(reason, "use nats-object://bucket/name");
    let (bucket, name) = rest.split_once('/').ok_or_else(|| refuse("the address names no object".to_owned()))?;
    let token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if bucket.is_empty() || bucket.len() > LONGEST_OBJECT || !bucket.chars().all(token) {
        return Err(refuse("a bucket is called by letters, digits, `-` and `_`".to_owned()));
    }
    if bucket.starts_with(OWN_BUCKETS) {
        return Err(refuse(format!("buckets that begin with `{OWN_BUCKETS}` are Slipway's own")));
    }
    if name.is_empty() || name.len() > LONGEST_OBJECT {
        return Err(refuse(format!("an object's name has 1 to {LONGEST_OBJECT} bytes")));
    }
    Ok(Source::Object { bucket: bucket.to_owned(), name: name.to_owned() })
}

/// The URI as it may be shown: without query and fragment, which may hold a signature, and without user and password.
pub(crate) fn shown(uri: &str) -> String {
    let plain = uri.split(['?', '#']).next().unwrap_or("");
    let plain = match plain.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit('@').next().unwrap_or("");
            format!("{scheme}://{host}/{path}")
        }
        None => plain.to_owned(),
    };
    plain.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_is_read() {
        assert_eq!(Source::parse("file:///models/a%20b.onnx").unwrap(), Source::File("/models/a b.onnx".into()));
        assert_eq!(
            Source::parse("nats-object://models/team/digits.onnx").unwrap(),
            Source::Object { bucket: "models".into(), name: "team/digits.onnx".into() }
        );
        let digest = Digest::of(b"model");
        assert_eq!(Source::parse(&format!("blob://{digest}/m.onnx")).unwrap(), Source::Blob(digest));
        assert!(matches!(Source::parse("https://example.com/m.onnx?signature=x").unwrap(), Source::Https(_)));
    }

    #[test]
    fn what_must_not_be_asked_is_refused() {
        for uri in [
            "http://example.com/m",
            "gopher://x/",
            "ftp://x/m",
            "data:text/plain,hello",
            "s3://bucket/key",
            "//host/m",
            "m.onnx",
            "file://host/m",
            "file:///m?x",
            "file:///m%00",
            "file:///a\\b",
            "file:///a b",
            "file:///a\r\nb",
            "https://user@host/m",
            "https://user:pw@host/m",
            "https://",
            "https://./m",
            "https://exa mple/m",
            "nats-object://bucket",
            "nats-object://bucket/",
            "nats-object://buc.ket/x",
            "nats-object://>/x",
            "nats-object://slipway-blobs/abc",
            "blob://abc",
            "blob:///m.onnx",
            "",
        ] {
            assert!(matches!(Source::parse(uri), Err(FetchError::NotAllowed { .. })), "{uri:?}");
        }
        assert!(Source::parse(&format!("https://host/{}", "a".repeat(3_000))).is_err());
    }

    #[test]
    fn dots_in_a_path_lead_nowhere() {
        for uri in ["file:///a/../../etc/passwd", "file:///a/%2e%2e/%2e%2e/etc/passwd"] {
            assert_eq!(
                Source::parse(uri).unwrap(),
                Source::File("/etc/passwd".into()),
                "the path is resolved before it is judged"
            );
        }
        assert!(matches!(Source::parse("file:///a/%2e%2e%2f%2e%2e%2fetc/passwd"), Err(_) | Ok(Source::File(_))));
    }

    #[test]
    fn numbers_in_disguise_are_the_addresses_they_are() {
        for uri in ["https://0x7f.1/m", "https://2130706433/m", "https://0177.0.0.1/m", "https://127.1/m"] {
            let Source::Https(url) = Source::parse(uri).unwrap() else { panic!("{uri}") };
            assert_eq!(url.host(), Some(Host::Ipv4(std::net::Ipv4Addr::LOCALHOST)), "{uri}");
        }
    }

    #[test]
    fn a_signature_or_password_is_not_shown() {
        assert_eq!(shown("https://user:pw@host/m.onnx?X-Amz-Signature=secret#frag"), "https://host/m.onnx");
        assert_eq!(shown("file:///models/m.onnx"), "file:///models/m.onnx");
    }
}
