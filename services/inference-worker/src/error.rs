//! Why a worker ends by a failure: a variant per failed action. What the controller makes of it is in [`crate::findings`].

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use slipway_bus::{BlobError, BusError};
use slipway_kernel::{ByteSize, Digest};

use crate::engine::EngineError;

/// Why the worker ends.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The configuration lacks what it was checked to have.
    #[error("the configuration names no assignment")]
    Unassigned,
    /// NATS is not there.
    #[error("the bus cannot be used")]
    Bus(#[from] BusError),
    /// The model file cannot be read.
    #[error("the model file {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The artifact is not in the store.
    #[error("the artifact {digest} cannot be fetched")]
    Artifact {
        /// Which.
        digest: Digest,
        /// What the store said.
        source: BlobError,
    },
    /// The bytes fetched are others than those asked for.
    #[error("the artifact fetched as {wanted} has the digest {found}")]
    Corrupt {
        /// What was asked for.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// The artifact cannot be read from or written to the local disk.
    #[error("the artifact cannot be kept in the data folder")]
    Disk(#[source] io::Error),
    /// The golden vectors cannot be read.
    #[error("the golden vectors in {} cannot be read", path.display())]
    Golden {
        /// Where they should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The engine refuses the model.
    #[error("the model cannot be served")]
    Model(#[source] EngineError),
    /// The measurement after the load failed.
    #[error("the model failed while it was measured")]
    Measure(#[source] EngineError),
    /// More memory is used than the worker may.
    #[error("{used} of memory are used where {limit} are allowed, {when}")]
    OutOfMemory {
        /// Resident memory.
        used: ByteSize,
        /// The limit.
        limit: ByteSize,
        /// At which point.
        when: &'static str,
    },
    /// No thread could be started.
    #[error("the system gives no thread for the engine")]
    Thread(#[source] io::Error),
    /// A thread ended without a result.
    #[error("the thread that loads the model ended without a result")]
    LostThread,
    /// The door cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The threads that serve connections.
    #[error("cannot serve connections")]
    Lanes(#[from] slipway_runtime::lanes::LanesError),
    /// The TLS configuration cannot be made.
    #[error("mutual TLS cannot be set up")]
    Tls(#[from] slipway_runtime::tls::TlsError),
    /// The gRPC server failed.
    #[error("the gRPC server failed")]
    Server(#[from] tonic::transport::Error),
}
