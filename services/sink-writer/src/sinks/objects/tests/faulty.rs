//! A store that fails at one step.

use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// What happens at the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The writer ends before the store has done it.
    EndBefore,
    /// The writer ends after the store has done it.
    EndAfter,
    /// The store does nothing and says so.
    RefuseBefore,
    /// The store does it and says that it did not.
    RefuseAfter,
    /// At every step: the store writes whether or not there is an object.
    Unconditional,
}

/// A store behind which another one stands.
#[derive(Debug)]
pub(super) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    /// Steps to go.
    left: Arc<AtomicUsize>,
    fault: Fault,
    reached: Arc<Notify>,
    /// The paths of contents that were asked for.
    read: Mutex<Vec<String>>,
}

impl Faulty {
    /// Fails at step `at`, from 0.
    pub(super) fn at(inner: &Arc<dyn ObjectStore>, at: usize, fault: Fault) -> Arc<Self> {
        let left = Arc::new(AtomicUsize::new(at + 1));
        Arc::new(Self {
            inner: Arc::clone(inner),
            left,
            fault,
            reached: Arc::new(Notify::new()),
            read: Mutex::default(),
        })
    }

    /// Waits until the writer stands still at the step.
    pub(super) async fn reached(&self) {
        self.reached.notified().await;
    }

    /// The paths of contents that were asked for, in order.
    pub(super) fn read(&self) -> Vec<String> {
        self.read.lock().unwrap().clone()
    }

    /// Whether this is the step.
    fn is_now(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Ok(1)
    }

    async fn step<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if !self.is_now() || self.fault == Fault::Unconditional {
            return work.await;
        }
        if matches!(self.fault, Fault::EndAfter | Fault::RefuseAfter) {
            // Whether it could be done is not told either.
            drop(work.await);
        }
        if matches!(self.fault, Fault::EndBefore | Fault::EndAfter) {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
        Err(Error::Generic { store: "faulty", source: "the fault".into() })
    }

    fn listing(&self, list: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        if !self.is_now() || self.fault == Fault::Unconditional {
            return list;
        }
        if matches!(self.fault, Fault::EndBefore | Fault::EndAfter) {
            self.reached.notify_one();
            return futures::stream::pending().boxed();
        }
        let refused = Err(Error::Generic { store: "faulty", source: "the fault".into() });
        std::future::ready(refused).into_stream().boxed()
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        if self.fault == Fault::Unconditional {
            options.mode = PutMode::Overwrite;
        }
        self.step(self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "multipart".to_owned(), implementer: self.to_string() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if !options.head {
            self.read.lock().unwrap().push(location.to_string());
        }
        self.step(self.inner.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
