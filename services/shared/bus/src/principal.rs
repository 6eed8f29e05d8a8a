//! Who connects to the broker. Each has its own key and its own permissions.

use slipway_kernel::{Label, Namespace, Service};
use std::{fmt, str::FromStr};

/// A holder of a key to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// One of the nine services.
    Service(Service),
    /// A person who operates the mesh: intake, reading everything, dead letters, integrity flags.
    Operator,
    /// A person, CI or a custom resource: the intake and its answers, nothing else.
    Client,
    /// Whoever makes streams, consumers and buckets, at installation and upgrade.
    Bootstrap,
}

impl Principal {
    /// Every principal.
    pub const ALL: [Self; 12] = [
        Self::Service(Service::Provisioner),
        Self::Service(Service::PlatformSelector),
        Self::Service(Service::Controller),
        Self::Service(Service::Ingress),
        Self::Service(Service::SinkWriter),
        Self::Service(Service::Observability),
        Self::Service(Service::Security),
        Self::Service(Service::Validator),
        Self::Service(Service::InferenceWorker),
        Self::Operator,
        Self::Client,
        Self::Bootstrap,
    ];

    /// The name in key files, inbox subjects and CloudEvents sources.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service(service) => service.name(),
            Self::Operator => "operator",
            Self::Client => "client",
            Self::Bootstrap => "bootstrap",
        }
    }

    /// The service, if it is one.
    #[must_use]
    pub const fn service(self) -> Option<Service> {
        match self {
            Self::Service(service) => Some(service),
            _ => None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Principal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|principal| principal.name() == text)
            .ok_or_else(|| format!("one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl From<Service> for Principal {
    fn from(service: Service) -> Self {
        Self::Service(service)
    }
}

/// A program that asks the models of one namespace over NATS. An operator makes as many as there are programs, each with a key of its own.
/// The broker lets it send requests and hear its answers, nothing else; whether a model answers it, that model's `spec.access` decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InferenceClient {
    /// Whose models it may ask.
    pub namespace: Namespace,
    /// Its name there.
    pub name: Label,
}

impl fmt::Display for InferenceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

impl FromStr for InferenceClient {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('.').ok_or("<namespace>.<name>, two DNS labels")?;
        Ok(Self { namespace: namespace.parse()?, name: name.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_a_principal_and_names_read_back() {
        for service in Service::ALL {
            assert!(Principal::ALL.contains(&Principal::Service(service)), "{service}");
        }
        for principal in Principal::ALL {
            assert_eq!(principal.name().parse::<Principal>().unwrap(), principal);
        }
    }

    #[test]
    fn a_client_of_models_is_a_namespace_and_a_name() {
        let client: InferenceClient = "team-b.shop".parse().unwrap();
        assert_eq!((client.namespace.as_str(), client.name.as_str()), ("team-b", "shop"));
        assert_eq!(client.to_string().parse::<InferenceClient>().unwrap(), client);
        for text in ["", "shop", "a.b.c", "A.b", "a.*", "a.>", ".b", "a."] {
            assert!(text.parse::<InferenceClient>().is_err(), "{text}");
        }
    }
}
