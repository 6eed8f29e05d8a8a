//! Who may be whom.

use super::{Denial, PeerId, Reason, Requester, Usage};
use slipway_kernel::Service;

/// What `requester` may use the identity for, if it may have it at all.
pub(super) fn usage(requester: Requester, id: &PeerId) -> Result<Usage, Denial> {
    let own = |service: Service| requester == Requester::Service(service);
    let usage = match id {
        PeerId::Revision { .. } if own(Service::InferenceWorker) => Some(Usage::Server),
        PeerId::Service(service) if own(*service) => of_service(*service),
        PeerId::Revision { .. } | PeerId::Service(_) => None,
    };
    usage.ok_or_else(|| {
        let who = match requester {
            Requester::Service(service) => service.name(),
            Requester::Other => "somebody who is no service",
        };
        Denial::new(Reason::NotEntitled, format!("{who} may not be {id}"))
    })
}

/// What a service does with an identity; `None` where it has no use for one.
const fn of_service(service: Service) -> Option<Usage> {
    match service {
        // Calls workers; may serve other parts of the mesh.
        Service::Ingress => Some(Usage::Both),
        // Call workers: the proof, the golden vectors, the drain.
        Service::Validator | Service::Controller | Service::Security => Some(Usage::Client),
        // A worker is known by its revision, never as the service.
        Service::InferenceWorker => None,
        // These call nobody and are called by nobody but over the broker.
        Service::Provisioner | Service::PlatformSelector | Service::SinkWriter | Service::Observability => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity::tests::worker;

    #[test]
    fn the_matrix_of_requesters_and_identities_has_exactly_these_entries() {
        let mut ids: Vec<PeerId> = Service::ALL.into_iter().map(PeerId::Service).collect();
        ids.push(worker("1-1"));
        let requesters = Service::ALL.into_iter().map(Requester::Service).chain([Requester::Other]);
        let mut allowed = Vec::new();
        for requester in requesters {
            for id in &ids {
                if let Ok(usage) = usage(requester, id) {
                    let Requester::Service(service) = requester else { panic!("somebody else got {id}") };
                    allowed.push(format!("{service}: {id}: {usage:?}"));
                }
            }
        }
        assert_eq!(
            allowed,
            [
                "controller: service controller: Client",
                "ingress: service ingress: Both",
                "security: service security: Client",
                "validator: service validator: Client",
                "inference-worker: the workers of default.digits 1-1: Server",
            ]
        );
    }
}
