//! The keys of token issuers: fetched when first needed, kept, refreshed in the background, and fetched again for a key id
//! nobody knows, but not more often than every ten seconds, whatever is sent.

use super::{
    outbound::{FetchError, Outbound},
    public_key::{self, KeySetError, PublicKey},
};
use crate::limits;
use arc_swap::ArcSwapOption;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::Mutex as AsyncMutex, time::timeout};
use tracing::{info, warn};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The document could not be had.
    #[error("cannot fetch the keys from {location}")]
    Fetch {
        /// Where they should be.
        location: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// What is there are no keys.
    #[error("cannot use the keys from {location}")]
    Keys {
        /// Where they are.
        location: String,
        /// Why.
        #[source]
        source: KeySetError,
    },
    /// Fetched a moment ago, and not had.
    #[error("the keys from {location} could not be had a moment ago")]
    Paused {
        /// Where they should be.
        location: String,
    },
}

/// All issuers that a deployment names, by the location of their keys.
#[derive(Debug)]
pub struct Issuers {
    outbound: Outbound,
    sources: Mutex<HashMap<String, Arc<Source>>>,
}

#[derive(Debug)]
struct Source {
    location: String,
    keys: ArcSwapOption<Kept>,
    /// When the last fetch began; the lock makes many requests one fetch.
    fetched: AsyncMutex<Option<Instant>>,
}

#[derive(Debug)]
struct Kept {
    keys: Arc<Vec<PublicKey>>,
    at: Instant,
}

impl Issuers {
    /// None yet.
    #[must_use]
    pub fn new(outbound: Outbound) -> Self {
        Self { outbound, sources: Mutex::default() }
    }

    /// Forgets all but these locations.
    pub fn retain(&self, wanted: impl Fn(&str) -> bool) {
        self.sources().retain(|location, _| wanted(location));
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Source>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn source(&self, location: &str) -> Arc<Source> {
        if let Some(source) = self.sources().get(location) {
            return Arc::clone(source);
        }
        let source = Arc::new(Source {
            location: location.to_owned(),
            keys: ArcSwapOption::empty(),
            fetched: AsyncMutex::new(None),
        });
        Arc::clone(self.sources().entry(location.to_owned()).or_insert(source))
    }

    /// The keys at a location, with one that `suits` if there is one anywhere.
    ///
    /// # Errors
    /// If there are none to be had.
    pub async fn keys(
        &self,
        location: &str,
        suits: impl Fn(&[PublicKey]) -> bool,
    ) -> Result<Arc<Vec<PublicKey>>, IssuerError> {
        let source = self.source(location);
        let kept = source.keys.load_full().filter(|kept| kept.at.elapsed() < limits::JWKS_STALE);
        let Some(kept) = kept else { return source.fetch(&self.outbound).await };
        if !suits(&kept.keys) {
            // A new key, or a made-up one; if nothing can be had now, what is known holds.
            return Ok(source.fetch(&self.outbound).await.unwrap_or_else(|_| Arc::clone(&kept.keys)));
        }
        if kept.at.elapsed() >= limits::JWKS_FRESH {
            let outbound = self.outbound.clone();
            tokio::spawn(async move {
                if let Err(error) = source.fetch(&outbound).await
                    && !matches!(error, IssuerError::Paused { .. })
                {
                    warn!(error = &error as &dyn std::error::Error, "the keys of an issuer could not be refreshed");
                }
            });
        }
        Ok(Arc::clone(&kept.keys))
    }
}

impl Source {
    async fn fetch(&self, outbound: &Outbound) -> Result<Arc<Vec<PublicKey>>, IssuerError> {
        let asked = Instant::now();
        let mut fetched = self.fetched.lock().await;
        // Somebody fetched while this one waited for the lock, or just before.
        let paused = fetched.is_some_and(|last| last >= asked || last.elapsed() < limits::JWKS_PAUSE);
        if paused {
            let kept = self.keys.load_full().map(|kept| Arc::clone(&kept.keys));
            return kept.ok_or_else(|| IssuerError::Paused { location: self.location.clone() });
        }
        *fetched = Some(Instant::now());
        let text = self
            .load(outbound)
            .await
            .map_err(|source| IssuerError::Fetch { location: self.location.clone(), source })?;
        let keys =
            public_key::read(&text).map_err(|source| IssuerError::Keys { location: self.location.clone(), source })?;
        info!(location = self.location, keys = keys.len(), "fetched the keys of an issuer");
        let keys = Arc::new(keys);
        self.keys.store(Some(Arc::new(Kept { keys: Arc::clone(&keys), at: Instant::now() })));
        Ok(keys)
    }

    async fn load(&self, outbound: &Outbound) -> Result<Vec<u8>, FetchError> {
        match self.location.strip_prefix("file://") {
            Some(path) => {
                // A device or a pipe would never end.
                let metadata = tokio::fs::metadata(path).await?;
                if !metadata.is_file() || metadata.len() > limits::JWKS_BYTES as u64 {
                    return Err(FetchError::TooLong);
                }
                Ok(tokio::fs::read(path).await?)
            }
            None => match timeout(limits::JWKS_FETCH + Duration::from_secs(1), outbound.get(&self.location)).await {
                Ok(result) => result,
                Err(_) => Err(FetchError::Status(504)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::token::tests::Issuer, config::AuthConfig};

    fn issuers() -> Issuers {
        slipway_runtime::tls::install_provider();
        Issuers::new(Outbound::new(&AuthConfig::default()).unwrap())
    }

    fn with_kid(kid: &'static str) -> impl Fn(&[PublicKey]) -> bool {
        move |keys| keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    #[tokio::test]
    async fn a_flood_of_unknown_key_ids_is_one_fetch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        std::fs::write(&path, Issuer::new().jwks()).unwrap();
        let location = format!("file://{}", path.display());
        let issuers = issuers();
        assert_eq!(issuers.keys(&location, with_kid("ed-1")).await.unwrap().len(), 2);
        // What would be read now is no set of keys; that the old one is still given shows that it was not read again.
        std::fs::write(&path, "no keys").unwrap();
        for _ in 0..100 {
            assert_eq!(issuers.keys(&location, with_kid("made-up")).await.unwrap().len(), 2);
        }
        let first = *issuers.source(&location).fetched.lock().await;
        issuers.keys(&location, with_kid("made-up")).await.unwrap();
        assert_eq!(*issuers.source(&location).fetched.lock().await, first);
    }

    #[tokio::test]
    async fn keys_that_were_never_had_are_an_error_and_not_asked_for_again_at_once() {
        let issuers = issuers();
        let location = "file:///nowhere/jwks.json";
        assert!(matches!(issuers.keys(location, |_| true).await, Err(IssuerError::Fetch { .. })));
        assert!(matches!(issuers.keys(location, |_| true).await, Err(IssuerError::Paused { .. })));
        issuers.retain(|_| false);
        assert!(matches!(issuers.keys(location, |_| true).await, Err(IssuerError::Fetch { .. })));
    }

    #[tokio::test]
    async fn a_new_key_is_found_as_soon_as_the_pause_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        std::fs::write(&path, Issuer::new().jwks()).unwrap();
        let location = format!("file://{}", path.display());
        let issuers = issuers();
        let old = issuers.keys(&location, with_kid("ed-1")).await.unwrap();
        std::fs::write(
            &path,
            r#"{"keys":[{"kid":"new","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        )
        .unwrap();
        *issuers.source(&location).fetched.lock().await = Instant::now().checked_sub(limits::JWKS_PAUSE);
        let new = issuers.keys(&location, with_kid("new")).await.unwrap();
        assert_eq!((old.len(), new.len()), (2, 1));
    }
}
