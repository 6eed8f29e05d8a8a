//! Which cluster, and the way to it.

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long one call may take: lists of a large cluster take seconds.
const CALL: Duration = Duration::from_secs(30);

/// A cluster.
pub struct Cluster {
    /// The way to its API server.
    pub client: Client,
    /// The namespace of the own pod, or that of the kubeconfig.
    pub namespace: String,
    /// Whether this process is a pod of it.
    pub is_own: bool,
}

/// Why there is no way to a cluster. None of this passes by itself.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It cannot be read, or holds no such context.
    #[error("the kubeconfig{} cannot be used: {why}", .path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
    Kubeconfig {
        /// The file that was named, if one was.
        path: Option<PathBuf>,
        /// What is wrong.
        why: String,
    },
    /// Nothing tells of one.
    #[error("no cluster is known: there is neither a service account nor a kubeconfig ({0})")]
    Nowhere(String),
    /// No client can be made of what is known.
    #[error("the way to the API server cannot be set up: {0}")]
    Client(#[source] kube::Error),
}

/// Finds the cluster: that of a kubeconfig, in one of its contexts, else that of `KUBECONFIG`, else that of the own pod.
///
/// # Errors
/// When none is known, or its kubeconfig cannot be used.
pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Cluster, ConnectError> {
    let unusable = |why: String| ConnectError::Kubeconfig { path: kubeconfig.map(Path::to_owned), why };
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let (mut found, is_own) = match kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path).map_err(|error| unusable(error.to_string()))?;
            let found = Config::from_custom_kubeconfig(read, &options).await;
            (found.map_err(|error| unusable(error.to_string()))?, false)
        }
        None => match Config::from_kubeconfig(&options).await {
            Ok(found) => (found, false),
            // Who names a context means a kubeconfig.
            Err(error) if context.is_some() => return Err(unusable(error.to_string())),
            Err(_) => (Config::incluster().map_err(|error| ConnectError::Nowhere(error.to_string()))?, true),
        },
    };
    found.connect_timeout = Some(CALL);
    found.read_timeout = Some(CALL);
    found.write_timeout = Some(CALL);
    // Whoever calls has a pause of his own, and something to say meanwhile: fifteen tries behind his back take minutes.
    found.default_retry = false;
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
        for content in [None, Some("no: [kubeconfig"), Some("{}")] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let Err(error) = connect(Some(&path), None).await else { panic!("{content:?} is no kubeconfig") };
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
