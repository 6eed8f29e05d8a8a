//! Who a part of the mesh is.

use super::TlsError;
use slipway_kernel::{DeploymentId, RevisionId, Service};
use std::{fmt, str::FromStr};

/// The id in a certificate of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpiffeId {
    /// `spiffe://slipway/service/<name>`: one of the nine services.
    Service(Service),
    /// `spiffe://slipway/ns/<namespace>/deployment/<name>/revision/<generation>-<revision>`: the workers of one revision.
    Revision {
        /// The deployment.
        deployment: DeploymentId,
        /// Its revision.
        revision: RevisionId,
    },
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => write!(f, "spiffe://slipway/service/{service}"),
            Self::Revision { deployment: DeploymentId { namespace, name }, revision } => {
                write!(f, "spiffe://slipway/ns/{namespace}/deployment/{name}/revision/{revision}")
            }
        }
    }
}

impl FromStr for SpiffeId {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || -> Option<Self> {
            let path = text.strip_prefix("spiffe://slipway/")?;
            match *path.split('/').collect::<Vec<_>>().as_slice() {
                ["service", name] => name.parse().ok().map(Self::Service),
                ["ns", namespace, "deployment", name, "revision", revision] => Some(Self::Revision {
                    deployment: DeploymentId { namespace: namespace.parse().ok()?, name: name.parse().ok()? },
                    revision: revision.parse().ok()?,
                }),
                _ => None,
            }
        };
        parse().ok_or_else(|| TlsError::Id { id: text.chars().take(256).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_it_was_read() {
        for text in
            ["spiffe://slipway/service/inference-worker", "spiffe://slipway/ns/default/deployment/digits/revision/2-1"]
        {
            assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_id_of_the_mesh_is_refused() {
        for text in [
            "",
            "spiffe://other/service/ingress",
            "spiffe://slipway/service/nobody",
            "spiffe://slipway/service/ingress/",
            "spiffe://slipway/service/ingress?x",
            "SPIFFE://slipway/service/ingress",
            "spiffe://slipway/ns/default/deployment/digits/revision/02-1",
            "spiffe://slipway/ns/../deployment/digits/revision/2-1",
            "spiffe://slipway/ns/default/deployment/digits",
            "https://slipway/service/ingress",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }
}
