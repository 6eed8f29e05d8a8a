//! Which cluster, and the way to it.

use crate::config::KubernetesConfig;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{path::PathBuf, time::Duration};

/// How long one call may take: lists of a large cluster take seconds.
const CALL: Duration = Duration::from_secs(30);

/// A cluster.
pub(super) struct Cluster {
    pub(super) client: Client,
    /// The namespace of the own pod, or that of the kubeconfig.
    pub(super) namespace: String,
    /// Whether this process is a pod of it.
    pub(super) is_own: bool,
}

/// Why there is no way to a cluster. None of this passes by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("kubernetes.kubeconfig {path} cannot be used: {why}")]
    Kubeconfig { path: PathBuf, why: String },
    #[error(
        "no cluster is known: there is neither a service account nor a kubeconfig; set kubernetes.kubeconfig ({0})"
    )]
    Nowhere(String),
    #[error("the way to the API server cannot be set up: {0}")]
    Client(#[source] kube::Error),
}

/// Finds the cluster anew for each look: who mends a kubeconfig need not start this again.
pub(super) async fn connect(config: &KubernetesConfig) -> Result<Cluster, ConnectError> {
    let (mut found, is_own) = match &config.kubeconfig {
        Some(path) => {
            let unusable = |why: String| ConnectError::Kubeconfig { path: path.clone(), why };
            let read = Kubeconfig::read_from(path).map_err(|error| unusable(error.to_string()))?;
            let options = KubeConfigOptions::default();
            let found = Config::from_custom_kubeconfig(read, &options).await;
            (found.map_err(|error| unusable(error.to_string()))?, false)
        }
        None => match Config::from_kubeconfig(&KubeConfigOptions::default()).await {
            Ok(found) => (found, false),
            Err(_) => (Config::incluster().map_err(|error| ConnectError::Nowhere(error.to_string()))?, true),
        },
    };
    found.read_timeout = Some(CALL);
    found.write_timeout = Some(CALL);
    let namespace = found.default_namespace.clone();
    let client = Client::try_from(found).map_err(ConnectError::Client)?;
    Ok(Cluster { client, namespace, is_own })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let config = KubernetesConfig { kubeconfig: Some(path.clone()), ..KubernetesConfig::default() };
        for content in [None, Some("no: [kubeconfig"), Some("{}")] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let Err(error) = connect(&config).await else { panic!("{content:?} is no kubeconfig") };
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
