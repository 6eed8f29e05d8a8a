//! Which cluster, and what it is able to do.

use super::{
    api::{ApiError, Objects},
    objects::SCALED_OBJECT,
};
use anyhow::Context as _;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{path::Path, time::Duration};

/// How long one call may take: lists of a large namespace take seconds.
const CALL: Duration = Duration::from_secs(30);

/// The pauses, in milliseconds, before a cluster that refuses is asked again at the start.
const PAUSES: [u64; 5] = [250, 500, 1000, 2000, 4000];

/// A cluster.
pub struct Discovered {
    /// The way to its API server.
    pub client: Client,
    /// The namespace of the own pod, or that of the kubeconfig.
    pub namespace: String,
    /// Whether it serves KEDA's `ScaledObject`.
    pub has_keda: bool,
}

/// Finds the cluster: that of a kubeconfig, else that of the own pod, else `KUBECONFIG`. With the namespace that is meant when none is said.
///
/// # Errors
/// When none is known.
pub async fn find(kubeconfig: Option<&Path>) -> anyhow::Result<(Client, String)> {
    let mut config = match kubeconfig {
        Some(path) => {
            let read =
                Kubeconfig::read_from(path).with_context(|| format!("kubernetes.kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await.context("no cluster is known: neither a service account nor a kubeconfig")?,
    };
    config.read_timeout = Some(CALL);
    config.write_timeout = Some(CALL);
    // Whoever calls has a pause of his own, and something to say meanwhile: fifteen tries behind his back take minutes.
    config.default_retry = false;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).context("the way to the API server cannot be set up")?;
    Ok((client, namespace))
}

/// Finds the cluster, and what it is able to do.
///
/// # Errors
/// When none is known, or it does not answer.
pub async fn discover(kubeconfig: Option<&Path>) -> anyhow::Result<Discovered> {
    let (client, namespace) = find(kubeconfig).await?;
    let has_keda = serves_keda(&client, &namespace).await?;
    Ok(Discovered { client, namespace, has_keda })
}

/// Whether a cluster serves KEDA's `ScaledObject`, to who asks with this client.
///
/// # Errors
/// When it does not answer.
pub async fn serves_keda(client: &Client, namespace: &str) -> anyhow::Result<bool> {
    let objects = Objects::new(client.clone(), namespace);
    let mut pauses = PAUSES.into_iter();
    loop {
        match objects.list(SCALED_OBJECT, "", "").await {
            Ok(_) => return Ok(true),
            Err(ApiError::NotFound | ApiError::Refused(..)) => return Ok(false),
            Err(error) => {
                let Some(pause) = pauses.next() else { anyhow::bail!("the cluster does not answer: {error}") };
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }
}
