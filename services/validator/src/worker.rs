//! One worker, as the validator meets it: at its inner door, with an identity made for the occasion.

use crate::{error::AbortError, world::Worker};
use slipway_bus::Bus;
use slipway_kernel::{DeploymentId, RevisionId, Service};
use slipway_proto::slipway::inference::v1::{AbortRequest, worker_control_client::WorkerControlClient};
use slipway_runtime::tls::{self, Identity, KeyAndRequest, Reloadable, SpiffeId};
use std::{net::SocketAddr, time::Duration};
use tonic::{Code, transport::Endpoint};

/// How long security may take to answer. It does within milliseconds when it is there.
const GRANT: Duration = Duration::from_secs(5);
/// How long a worker may take to answer, connecting included: it reads the log before, for which it has five seconds itself.
const ANSWER: Duration = Duration::from_secs(8);

/// Has this very worker end at once, as if it were killed. Done when the worker has said that it ends.
///
/// # Errors
/// Why it was not told, or will not.
pub(crate) async fn abort(
    bus: &Bus,
    deployment: &DeploymentId,
    revision: RevisionId,
    worker: &Worker,
) -> Result<(), AbortError> {
    let address: SocketAddr =
        worker.address.parse().map_err(|_| AbortError::Address { address: worker.address.clone() })?;
    // The certificate must be that of exactly this revision's workers: an address may have been given to another one since.
    let expected = SpiffeId::Revision { deployment: deployment.clone(), revision };
    let config = identity(bus).await?.client_config(expected)?;
    let telling = async {
        // `http`, for the connector brings its own TLS.
        let endpoint = Endpoint::from_static("http://worker");
        let channel = endpoint.connect_with_connector(tls::connector(address, config)).await?;
        let since_unix_ms = i64::try_from(worker.since.0).unwrap_or(i64::MAX);
        let request = AbortRequest { instance: worker.instance.clone(), since_unix_ms };
        match WorkerControlClient::new(channel).abort(request).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::FailedPrecondition => {
                Err(AbortError::Refused { said: status.message().to_owned() })
            }
            Err(status) => Err(AbortError::Failed(Box::new(status))),
        }
    };
    tokio::time::timeout(ANSWER, telling).await.unwrap_or(Err(AbortError::Silent(ANSWER)))
}

/// An identity of the validator, whose key stays in this process. Asked for anew each time: a proof needs it once, for a moment.
async fn identity(bus: &Bus) -> Result<Reloadable, AbortError> {
    let id = SpiffeId::Service(Service::Validator);
    let made = KeyAndRequest::generate(&id, &[])?;
    let granted = bus.identities().request(bus.instance(), &id.to_string(), &made.csr_pem, &[], GRANT).await?;
    Ok(Reloadable::new(Identity::from_pem(&granted.chain_pem, &made.key_pem)?, &granted.ca_bundle_pem)?)
}
