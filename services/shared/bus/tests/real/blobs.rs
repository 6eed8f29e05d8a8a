//! Blobs: the same under the same name, whole and right or not at all.

use slipway_bus::BlobError;
use slipway_kernel::{Digest, Service};
use slipway_testkit::NatsServer;
use std::fs;
use tokio::io::AsyncReadExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_stored_once_and_read_back() {
    let server = NatsServer::ready().await;
    let blobs = server.bus_as(Service::Controller).await.blobs();
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    let stored = blobs.put(bytes.clone(), "application/octet-stream").await.unwrap();
    assert_eq!(stored.digest, Digest::of(&bytes));
    assert_eq!(stored.size_bytes, 2_000_000);
    assert_eq!(blobs.put(bytes.clone(), "application/octet-stream").await.unwrap(), stored);
    assert_eq!(blobs.get(&stored.digest).await.unwrap(), bytes);
    let missing = blobs.get(&Digest::of(b"never")).await;
    assert!(matches!(missing, Err(BlobError::NotFound { .. })), "{missing:?}");
    let empty = blobs.put(Vec::new(), "text/plain").await.unwrap();
    assert!(blobs.get(&empty.digest).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_in_and_comes_out_whole() {
    let server = NatsServer::ready().await;
    let blobs = server.bus_as(Service::PlatformSelector).await.blobs();
    let (from, to) = (server.dir().join("from"), server.dir().join("to"));
    let bytes = vec![7_u8; 5 << 20];
    fs::write(&from, &bytes).unwrap();
    let stored = blobs.put_file(&from, "application/octet-stream").await.unwrap();
    assert_eq!(blobs.get_file(&stored.digest, &to).await.unwrap(), 5 << 20);
    assert_eq!(fs::read(&to).unwrap(), bytes);
    let missing = blobs.get_file(&Digest::of(b"never"), &server.dir().join("no")).await;
    assert!(matches!(missing, Err(BlobError::NotFound { .. })));
    let left: Vec<_> = fs::read_dir(server.dir()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "no" || name.to_string_lossy().contains("partial")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_under_a_foreign_name_is_found_out() {
    let server = NatsServer::ready().await;
    let blobs = server.bus_as(Service::Controller).await.blobs();
    let foreign = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let store = foreign.get_object_store("slipway-blobs").await.unwrap();
    let claimed = Digest::of(b"what it should be");
    store.put(claimed.as_str(), &mut "something else".as_bytes()).await.unwrap();
    assert!(matches!(blobs.get(&claimed).await, Err(BlobError::Corrupt { .. })));
    let to = server.dir().join("claimed");
    assert!(matches!(blobs.get_file(&claimed, &to).await, Err(BlobError::Corrupt { .. })));
    assert!(!to.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_object_is_fetched_up_to_a_size() {
    let server = NatsServer::ready().await;
    let blobs = server.bus_as(Service::PlatformSelector).await.blobs();
    let foreign = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config = async_nats::jetstream::object_store::Config { bucket: "models".to_owned(), ..Default::default() };
    let store = foreign.create_object_store(config).await.unwrap();
    store.put("digits.onnx", &mut vec![1_u8; 300_000].as_slice()).await.unwrap();
    let to = server.dir().join("model");
    let digest = blobs.fetch_object("models", "digits.onnx", &to, 1 << 20).await.unwrap();
    assert_eq!(digest, Digest::of(&vec![1_u8; 300_000]));
    let large = blobs.fetch_object("models", "digits.onnx", &to, 1_000).await;
    assert!(matches!(large, Err(BlobError::TooLarge { .. })));
    assert!(matches!(blobs.fetch_object("models", "no", &to, 1).await, Err(BlobError::NotFound { .. })));
    assert!(matches!(blobs.fetch_object("nowhere", "no", &to, 1).await, Err(BlobError::Store { .. })));
}

/// What the library puts, this reads, and the other way round: users look into the bucket with the broker's own tools.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_blob_has_the_form_of_the_library() {
    let server = NatsServer::ready().await;
    let blobs = server.bus_as(Service::Controller).await.blobs();
    let stored = blobs.put("kind: Plan\n", "application/yaml").await.unwrap();
    let foreign = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let store = foreign.get_object_store("slipway-blobs").await.unwrap();
    let mut object = store.get(stored.digest.as_str()).await.unwrap();
    let mut content = String::new();
    object.read_to_string(&mut content).await.unwrap();
    assert_eq!(content, "kind: Plan\n");
    let info = object.info();
    assert_eq!((info.size, info.chunks, info.bucket.as_str()), (11, 1, "slipway-blobs"));
    assert_eq!(info.metadata["media-type"], "application/yaml");
    assert!(info.modified.is_some() && info.digest.is_some());
}

/// A crash between the two writes of a small blob leaves a description of what is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_was_half_written_is_written_again() {
    let server = NatsServer::ready().await;
    let blobs = server.bus_as(Service::Controller).await.blobs();
    let stored = blobs.put("a report", "text/markdown").await.unwrap();
    let foreign = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let stream = foreign.get_stream("OBJ_slipway-blobs").await.unwrap();
    stream.purge().filter("$O.slipway-blobs.C.>").await.unwrap();
    let half = blobs.get(&stored.digest).await;
    assert!(matches!(half, Err(BlobError::Corrupt { .. })), "{half:?}");
    assert_eq!(blobs.put("a report", "text/markdown").await.unwrap(), stored);
    assert_eq!(blobs.get(&stored.digest).await.unwrap(), "a report");
}
