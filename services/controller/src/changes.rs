//! Rings when something changed in a cluster. It says nothing of what: whoever hears it looks at everything, so a watch that was closed, expired or
//! behind costs a moment and never a wrong picture.

use futures::TryStreamExt as _;
use kube::{
    Api, Resource,
    api::{WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use std::{fmt::Debug, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::Instant};

/// The pause before a watch is begun anew.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest, before one that ended soon again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A watch that lasted so long was a good one.
const LASTED: Duration = Duration::from_secs(10);
/// After how many seconds the API server ends a watch: sooner than a call may take, so that only one that hangs is cut off.
const ENDS_AFTER: u32 = 25;

/// Watches the objects that bear these labels, for ever.
pub(crate) async fn ring<K>(api: Api<K>, labels: String, bell: Arc<Notify>)
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let params = WatchParams::default().labels(&labels).timeout(ENDS_AFTER).disable_bookmarks();
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        if let Err(error) = watch(&api, &params, &bell).await {
            tracing::debug!(%error, "a watch is begun anew");
        }
        if began.elapsed() >= LASTED {
            pause = PAUSE;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn watch<K>(api: &Api<K>, params: &WatchParams, bell: &Notify) -> Result<(), kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    // From now on, after all that is there: no version is named that could be too old, and what changed in the pause before rings as well.
    let mut events = std::pin::pin!(api.watch_metadata(params, "").await?);
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            _ => bell.notify_one(),
        }
    }
    Ok(())
}
