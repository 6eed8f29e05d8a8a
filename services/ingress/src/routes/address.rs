//! Which deployment, and which revision of it if one is named.

use crate::{error::RequestError, trail::REVISION};
use axum::extract::{RawPathParams, rejection::RawPathParamsRejection};
use http::HeaderMap;
use slipway_kernel::{DeploymentId, RevisionId};

/// The namespace of paths that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// What a request addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The revision, if one is named in the path or in `slipway-revision`.
    pub revision: Option<RevisionId>,
}

impl Address {
    /// Reads path and header.
    ///
    /// # Errors
    /// [`RequestError::UnknownPath`] and [`RequestError::UnknownDeployment`] for what is no name, [`RequestError::Invalid`] for what is no revision, or two.
    pub fn read(
        params: Result<RawPathParams, RawPathParamsRejection>,
        headers: &HeaderMap,
    ) -> Result<Self, RequestError> {
        // What is no text leads nowhere.
        let params = params.map_err(|_| RequestError::UnknownPath)?;
        let param = |wanted: &str| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        Self::of(param("namespace"), param("model").unwrap_or_default(), param("version"), headers)
    }

    /// Reads the path of an inference and the header. `None` for any other path, and for one that spells a name with `%`: those are for the
    /// router.
    pub fn of_inference(path: &str, headers: &HeaderMap) -> Option<Result<Self, RequestError>> {
        let mut parts = path.strip_prefix("/v2/")?.strip_suffix("/infer")?.split('/').peekable();
        // `None` where the kind stands without a name.
        let mut named = |kind: &str| match parts.next_if(|part| *part == kind) {
            None => Some(None),
            Some(_) => parts.next().filter(|name| !name.is_empty() && !name.contains('%')).map(Some),
        };
        let (namespace, model, version) = (named("namespaces")?, named("models")??, named("versions")?);
        parts.next().is_none().then(|| Self::of(namespace, model, version, headers))
    }

    /// From the names themselves; the header may name the revision too.
    ///
    /// # Errors
    /// As [`Address::read`].
    pub fn of(
        namespace: Option<&str>,
        model: &str,
        version: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Self, RequestError> {
        let unknown = || RequestError::UnknownDeployment(model.chars().take(80).collect());
        let deployment = DeploymentId {
            namespace: namespace.unwrap_or(DEFAULT_NAMESPACE).parse().map_err(|_| unknown())?,
            name: model.parse().map_err(|_| unknown())?,
        };
        let revision = |path: &str, text: &str| {
            text.parse::<RevisionId>().map_err(|allowed| RequestError::invalid(path, text, allowed))
        };
        let in_path = version.map(|text| revision("path.version", text)).transpose()?;
        let mut values = headers.get_all(&REVISION).iter();
        let in_header =
            values.next().map(|value| revision("header.slipway-revision", &String::from_utf8_lossy(value.as_bytes())));
        let in_header = in_header.transpose()?;
        let twice = values.next().is_some() || (in_path.is_some() && in_header.is_some() && in_path != in_header);
        if twice {
            return Err(RequestError::invalid("header.slipway-revision", "a second revision", "one revision"));
        }
        Ok(Self { deployment, revision: in_path.or(in_header) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn header(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(REVISION, HeaderValue::from_static(text))])
    }

    #[test]
    fn the_namespace_is_the_default_one_and_a_revision_may_stand_in_path_or_header() {
        let none = HeaderMap::new();
        let address = Address::of(None, "digits", None, &none).unwrap();
        assert_eq!((address.deployment.to_string().as_str(), address.revision), ("default.digits", None));
        let named = Some(RevisionId::new(2, 1));
        assert_eq!(Address::of(Some("team"), "digits", Some("2-1"), &none).unwrap().revision, named);
        assert_eq!(Address::of(None, "digits", None, &header("2-1")).unwrap().revision, named);
        assert_eq!(Address::of(None, "digits", Some("2-1"), &header("2-1")).unwrap().revision, named);
    }

    #[test]
    fn the_path_of_an_inference_is_read_as_the_router_does_or_not_at_all() {
        let none = HeaderMap::new();
        let read = |path: &str| Address::of_inference(path, &none).map(Result::ok);
        let of = |namespace, version| Some(Address::of(namespace, "digits", version, &none).ok());
        assert_eq!(read("/v2/models/digits/infer"), of(None, None));
        assert_eq!(read("/v2/models/digits/versions/2-1/infer"), of(None, Some("2-1")));
        assert_eq!(read("/v2/namespaces/team/models/digits/infer"), of(Some("team"), None));
        assert_eq!(read("/v2/namespaces/team/models/digits/versions/2-1/infer"), of(Some("team"), Some("2-1")));
        for refused in ["/v2/models/Digits/infer", "/v2/models/digits/versions/latest/infer"] {
            assert_eq!(read(refused), Some(None), "{refused}");
        }
        for path in [
            "/v2/models/digits",
            "/v2/models/infer",
            "/v2/models//infer",
            "/v2/models/infer/",
            "/v2/models/digits/infer/",
            "/v2/models/digits//infer",
            "/v2/models/digits/versions/infer",
            "/v2/models/digits/versions//infer",
            "/v2/models/digits/more/infer",
            "/v2/models/di%67its/infer",
            "/v2/namespaces/models/digits/infer",
            "/v2/namespaces//models/digits/infer",
            "/v2/models/digits/namespaces/team/infer",
            "/v3/models/digits/infer",
            "/v2/infer",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_no_name_leads_nowhere_and_what_is_no_revision_is_refused() {
        let none = HeaderMap::new();
        for name in ["", "Digits", "a.b", "..", "*", "a b", &"a".repeat(64)] {
            assert!(matches!(Address::of(None, name, None, &none), Err(RequestError::UnknownDeployment(_))), "{name}");
            assert!(Address::of(Some(name), "digits", None, &none).is_err(), "{name}");
        }
        for version in ["1", "v1", "01-1", "1-1-1", "latest"] {
            assert!(matches!(Address::of(None, "d", Some(version), &none), Err(RequestError::Invalid(_))), "{version}");
        }
        assert!(Address::of(None, "d", Some("1-1"), &header("2-1")).is_err());
    }
}
