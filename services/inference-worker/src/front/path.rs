//! What a path of the protocol leads to.

/// A resource of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    /// `/v2`: the server.
    Server,
    /// `/v2/health/live`.
    Live,
    /// `/v2/health/ready`.
    Ready,
    /// `/v2/repository/index`: what is served.
    Index,
    /// `/v2/models/stats`: what was done with all that is served.
    Statistics,
    /// `/v2/models/{name}[/versions/{version}]` and what is below.
    Model {
        /// The name in the path, percent-encoding undone by nobody: names of models have no use for it.
        name: &'a str,
        /// The version; empty for the one that is served.
        version: &'a str,
        /// What of it.
        part: Part,
    },
}

/// What of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What it takes and gives.
    Metadata,
    /// Whether it answers.
    Ready,
    /// How it is served.
    Configuration,
    /// What it has done.
    Statistics,
    /// Many inferences, on a WebSocket.
    Stream,
    /// An inference.
    Infer,
}

impl<'a> Resource<'a> {
    /// What the path leads to where a model called `own` is served. A slash at its end changes nothing, as public clients disagree
    /// about it.
    pub(super) fn of(path: &'a str, own: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v2")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() {
            return Some(Self::Server);
        }
        let mut segments = rest.strip_prefix('/')?.split('/');
        let found = match (segments.next()?, segments.next()?) {
            ("health", "live") => Self::Live,
            ("health", "ready") => Self::Ready,
            ("repository", "index") => Self::Index,
            // A model may have this name, and then the path is its own.
            ("models", "stats") if own != "stats" && segments.clone().next().is_none() => Self::Statistics,
            ("models", name) if !name.is_empty() => {
                let (version, part) = match segments.next() {
                    Some("versions") => (segments.next().filter(|version| !version.is_empty())?, segments.next()),
                    part => ("", part),
                };
                let part = match part {
                    None => Part::Metadata,
                    Some("ready") => Part::Ready,
                    Some("config") => Part::Configuration,
                    Some("stats") => Part::Statistics,
                    Some("stream") => Part::Stream,
                    Some("infer") => Part::Infer,
                    Some(_) => return None,
                };
                Self::Model { name, version, part }
            }
            _ => return None,
        };
        segments.next().is_none().then_some(found)
    }

    /// Whether it is posted to rather than read.
    pub(super) const fn is_posted(self) -> bool {
        matches!(self, Self::Index | Self::Model { part: Part::Infer, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_path_of_the_protocol_leads_somewhere_with_and_without_a_slash_at_its_end() {
        let model = |version, part| Resource::Model { name: "m", version, part };
        for (path, resource) in [
            ("/v2", Resource::Server),
            ("/v2/health/live", Resource::Live),
            ("/v2/health/ready", Resource::Ready),
            ("/v2/models/m", model("", Part::Metadata)),
            ("/v2/models/m/ready", model("", Part::Ready)),
            ("/v2/models/m/infer", model("", Part::Infer)),
            ("/v2/models/m/versions/1-1", model("1-1", Part::Metadata)),
            ("/v2/models/m/versions/1-1/ready", model("1-1", Part::Ready)),
            ("/v2/models/m/versions/1-1/infer", model("1-1", Part::Infer)),
            ("/v2/models/m/versions/1-1/stream", model("1-1", Part::Stream)),
            ("/v2/models/m/config", model("", Part::Configuration)),
            ("/v2/models/m/stats", model("", Part::Statistics)),
            ("/v2/models/m/versions/1-1/stats", model("1-1", Part::Statistics)),
            ("/v2/models/stats", Resource::Statistics),
            ("/v2/repository/index", Resource::Index),
        ] {
            assert_eq!(Resource::of(path, "m"), Some(resource), "{path}");
            assert_eq!(Resource::of(&format!("{path}/"), "m"), Some(resource), "{path}/");
        }
        let stats = Resource::Model { name: "stats", version: "", part: Part::Metadata };
        assert_eq!(Resource::of("/v2/models/stats", "stats"), Some(stats));
    }

    #[test]
    fn everything_else_leads_nowhere() {
        for path in [
            "",
            "/",
            "/v1",
            "/v22",
            "/v2//",
            "/v2/models",
            "/v2/models/",
            "/v2/models//infer",
            "/v2/models/m/versions",
            "/v2/models/m/versions//infer",
            "/v2/models/m/generate",
            "/v2/models/m/infer/more",
            "/v2/health",
            "/v2/health/live/now",
        ] {
            assert_eq!(Resource::of(path, "m"), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "(/?(v2|models|versions|health|m|))*.{0,4}") {
            let _ = Resource::of(&path, "m");
        }
    }
}
