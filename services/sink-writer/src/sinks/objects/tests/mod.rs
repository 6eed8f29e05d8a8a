//! Every request once, in a folder and in a bucket: with two writers, after an end at any step, with answers that are lost.

mod faulty;

use super::*;
use crate::{config::Objects, domain::row_for_test};
use faulty::{Fault, Faulty};
use object_store::{aws::AmazonS3Builder, local::LocalFileSystem};
use slipway_kernel::{
    Timestamp,
    spec::{Partitioning, S3Output},
};
use slipway_testkit::S3Server;
use std::time::Duration;
use tempfile::TempDir;

/// More than any test knows.
const ALL: usize = 1_000_000;

fn layouts() -> [Layout; 3] {
    [
        (ObjectFormat::Ndjson, Compression::None, Partitioning::Day),
        (ObjectFormat::Ndjson, Compression::Gzip, Partitioning::Hour),
        (ObjectFormat::Parquet, Compression::Snappy, Partitioning::Day),
    ]
    .map(|(format, compression, partition)| Layout { format, compression, partition })
}

const PARQUET: Layout =
    Layout { format: ObjectFormat::Parquet, compression: Compression::Snappy, partition: Partitioning::Day };

/// The two kinds of store, each with what keeps it there.
async fn stores() -> ([Arc<dyn ObjectStore>; 2], (TempDir, S3Server)) {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(folder.path()).unwrap().with_fsync(true);
    let server = S3Server::start().await;
    ([Arc::new(local), bucket(&server)], (folder, server))
}

fn bucket(server: &S3Server) -> Arc<dyn ObjectStore> {
    let builder = AmazonS3Builder::new().with_bucket_name(S3Server::BUCKET).with_endpoint(server.endpoint());
    let builder = builder.with_access_key_id(S3Server::ACCESS_KEY).with_secret_access_key(S3Server::SECRET_KEY);
    Arc::new(builder.with_allow_http(true).build().unwrap())
}

fn sink(store: &Arc<dyn ObjectStore>, prefix: &str, layout: Layout) -> ObjectsSink {
    ObjectsSink::new(Arc::clone(store), ObjectPath::from(prefix), layout, "test".to_owned(), ALL)
}

/// Rows of two days, by their numbers.
fn rows(numbers: impl IntoIterator<Item = usize>) -> Vec<Row> {
    let row = |n: usize| {
        let mut row = row_for_test(&format!("r{n}"));
        row.accepted_at = Timestamp(1_767_225_600_000 + 86_400_000 * (n as u64 % 2));
        row
    };
    numbers.into_iter().map(row).collect()
}

async fn write(sink: &ObjectsSink, rows: &[Row]) -> Result<u64, SinkError> {
    sink.write(&rows.iter().collect::<Vec<_>>()).await
}

/// The keys of all rows that a reader finds below the prefix by the names of data objects.
async fn found(store: &Arc<dyn ObjectStore>, prefix: &str, layout: Layout) -> Vec<RowKey> {
    let objects: Vec<_> = store.list(Some(&ObjectPath::from(prefix))).try_collect().await.unwrap();
    let mut found = Vec::new();
    for object in objects.into_iter().filter(|object| is_data(&object.location, layout)) {
        let content = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        found.extend(keys(content, layout).unwrap());
    }
    found.sort();
    found
}

/// As a glob of `*.parquet` or the like says.
fn is_data(path: &ObjectPath, layout: Layout) -> bool {
    path.as_ref().ends_with(&format!(".{}", place::extension(layout)))
}

fn wanted(numbers: impl IntoIterator<Item = usize>) -> Vec<RowKey> {
    let mut keys: Vec<RowKey> = rows(numbers).iter().map(|row| RowKey::of(&row.request_id)).collect();
    keys.sort();
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_again_in_other_groups_changes_nothing_and_neither_does_a_start() {
    let (stores, _kept) = stores().await;
    for store in &stores {
        for (n, layout) in layouts().into_iter().enumerate() {
            let prefix = format!("again-{n}");
            let first = sink(store, &prefix, layout);
            assert_eq!(write(&first, &rows((0..20).chain(0..20))).await.unwrap(), 20, "the same twice in a batch");
            assert_eq!(write(&first, &rows(10..30)).await.unwrap(), 10);
            assert_eq!(write(&first, &rows(5..25)).await.unwrap(), 0);
            // Another one, which knows nothing, and later the first again, which does not know of the other's.
            assert_eq!(write(&sink(store, &prefix, layout), &rows(25..35)).await.unwrap(), 5);
            assert_eq!(write(&first, &rows(0..36)).await.unwrap(), 1);
            assert_eq!(found(store, &prefix, layout).await, wanted(0..36), "{store} {layout:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_writers_at_once_each_row_is_written_by_one() {
    let (stores, _kept) = stores().await;
    for store in &stores {
        let (one, two, three) = (sink(store, "two", PARQUET), sink(store, "two", PARQUET), sink(store, "two", PARQUET));
        let mut written = 0;
        for round in 0..12 {
            let at = round * 10;
            let (a, b, c) = (rows(at..at + 20), rows(at + 5..at + 25), rows((at..at + 25).rev()));
            let (a, b, c) = tokio::join!(write(&one, &a), write(&two, &b), write(&three, &c));
            written += a.unwrap() + b.unwrap() + c.unwrap();
        }
        assert_eq!(written, 135, "{store}");
        assert_eq!(found(store, "two", PARQUET).await, wanted(0..135), "{store}");
    }
}

/// Ends a writer at each of its steps, before and after the store has done it, and hands its rows to another one in other groups.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wherever_a_writer_ends_each_row_is_there_once_after_the_next_has_them() {
    let (stores, _kept) = stores().await;
    for store in &stores {
        for fault in [Fault::EndBefore, Fault::EndAfter] {
            let mut steps = 0;
            loop {
                let prefix = format!("end-{fault:?}-{steps}");
                // What is there already must be read first, once with its index and once without.
                let before = sink(store, &prefix, PARQUET);
                write(&before, &rows(0..6)).await.unwrap();
                if steps % 2 == 0 {
                    remove_indexes(store, &prefix).await;
                }
                let faulty = Faulty::at(store, steps, fault);
                let ends = sink(&(Arc::clone(&faulty) as Arc<dyn ObjectStore>), &prefix, PARQUET);
                let batch = rows(4..14);
                let ended = tokio::select! {
                    written = write(&ends, &batch) => { assert_eq!(written.unwrap(), 8); false }
                    () = faulty.reached() => true,
                };
                drop(ends);
                let seen = found(store, &prefix, PARQUET).await;
                assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{store} {fault:?} at {steps}: twice");
                let next = sink(store, &prefix, PARQUET);
                for part in [rows(9..14), rows(0..9), rows(3..15)] {
                    write(&next, &part).await.unwrap();
                }
                assert_eq!(found(store, &prefix, PARQUET).await, wanted(0..15), "{store} {fault:?} at {steps}");
                if !ended {
                    break;
                }
                steps += 1;
            }
            // Two partitions, each: list, a look at the object and its index or rows, data, index.
            assert!(steps >= 10, "{steps} steps were seen");
        }
    }
}

/// The same writer goes on after an error, which says nothing about whether the store has done it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_that_is_lost_is_no_row_twice_and_none_less() {
    let (stores, _kept) = stores().await;
    for store in &stores {
        for fault in [Fault::RefuseBefore, Fault::RefuseAfter] {
            for steps in 0..12 {
                let prefix = format!("lost-{fault:?}-{steps}");
                let faulty = Faulty::at(store, steps, fault);
                let sink = sink(&(faulty as Arc<dyn ObjectStore>), &prefix, PARQUET);
                let tries = [write(&sink, &rows(0..10)).await, write(&sink, &rows(5..15)).await];
                assert!(tries.iter().any(Result::is_ok), "one fault is one error at most");
                write(&sink, &rows(0..15)).await.unwrap();
                assert_eq!(found(store, &prefix, PARQUET).await, wanted(0..15), "{store} {fault:?} at {steps}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_or_damaged_index_is_made_again_from_the_rows_and_is_not_believed() {
    let (stores, _kept) = stores().await;
    for store in &stores {
        for (n, layout) in layouts().into_iter().enumerate() {
            let prefix = format!("index-{n}");
            write(&sink(store, &prefix, layout), &rows(0..10)).await.unwrap();
            let whole = indexes(store, &prefix).await;
            assert_eq!(whole.len(), 2, "one for each day");
            for damage in [None, Some(&b"damaged"[..]), Some(&[])] {
                for path in &whole {
                    match damage {
                        None => store.delete(path).await.unwrap(),
                        Some(damage) => drop(store.put(path, damage.to_vec().into()).await.unwrap()),
                    }
                }
                let next = sink(store, &prefix, layout);
                assert_eq!(write(&next, &rows(0..10)).await.unwrap(), 0, "{store} {layout:?} {damage:?}");
                assert_eq!(indexes(store, &prefix).await, whole);
            }
            assert_eq!(found(store, &prefix, layout).await, wanted(0..10));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_starts_reads_indexes_and_no_rows() {
    let (stores, _kept) = stores().await;
    for store in &stores {
        write(&sink(store, "start", PARQUET), &rows(0..10)).await.unwrap();
        let faulty = Faulty::at(store, usize::MAX - 1, Fault::RefuseBefore);
        let next = sink(&(Arc::clone(&faulty) as Arc<dyn ObjectStore>), "start", PARQUET);
        assert_eq!(write(&next, &rows(0..12)).await.unwrap(), 2);
        let read = faulty.read();
        assert!(read.len() == 2 && read.iter().all(|path| path.contains("/_keys/")), "{store}: {read:?}");
    }
}

async fn indexes(store: &Arc<dyn ObjectStore>, prefix: &str) -> Vec<ObjectPath> {
    let objects: Vec<_> = store.list(Some(&ObjectPath::from(prefix))).try_collect().await.unwrap();
    let mut indexes: Vec<_> = objects.into_iter().map(|object| object.location).collect();
    indexes.retain(|path| path.as_ref().contains("/_keys/") && path.as_ref().ends_with(".keys"));
    indexes.sort();
    indexes
}

async fn remove_indexes(store: &Arc<dyn ObjectStore>, prefix: &str) {
    for path in indexes(store, prefix).await {
        store.delete(&path).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_was_replaced_by_hand_is_read_and_one_that_is_no_rows_stops_the_partition() {
    let (stores, _kept) = stores().await;
    for store in &stores {
        write(&sink(store, "hand", PARQUET), &rows([0, 2])).await.unwrap();
        let path = ObjectPath::from("hand/default/digits/date=2026-01-01/part-00000000.parquet");
        // Its index is of the object that was there before.
        store.put(&path, encode(&rows([4, 6]), PARQUET).unwrap().into()).await.unwrap();
        assert_eq!(write(&sink(store, "hand", PARQUET), &rows([0, 2, 4, 6])).await.unwrap(), 2);
        store.put(&path, b"no Parquet".to_vec().into()).await.unwrap();
        let error = write(&sink(store, "hand", PARQUET), &rows([8])).await.unwrap_err();
        assert!(matches!(&error, SinkError::Unreadable { object, .. } if *object == path.to_string()), "{error}");
        assert!(!error.is_the_rows());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_leaves_nothing_and_a_store_without_conditions_is_named() {
    let (stores, _kept) = stores().await;
    let id: DeploymentId = "default.digits".parse().unwrap();
    for store in &stores {
        for layout in layouts() {
            sink(store, "proof", layout).prove(&id).await.unwrap();
        }
        let left: Vec<_> = store.list(Some(&ObjectPath::from("proof"))).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
        let careless: Arc<dyn ObjectStore> = Faulty::at(store, 0, Fault::Unconditional);
        let error = sink(&careless, "careless", PARQUET).prove(&id).await.unwrap_err();
        assert!(error.to_string().contains("If-None-Match"), "{error}");
        assert_eq!(error.cause(), slipway_kernel::Cause::Deterministic);
        let left: Vec<_> = store.list(Some(&ObjectPath::from("careless"))).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn a_row_without_a_date_is_the_rows_fault_and_a_revision_is_marked_once() {
    let folder = tempfile::tempdir().unwrap();
    let sink =
        ObjectsSink::in_folder(&format!("file://{}", folder.path().display()), PARQUET, &Objects::default()).unwrap();
    let mut late = row_for_test("late");
    late.completed_at = Timestamp(u64::MAX);
    assert!(sink.write(&[&late]).await.unwrap_err().is_the_rows());
    late.accepted_at = Timestamp(u64::MAX);
    assert!(sink.write(&[&late]).await.unwrap_err().is_the_rows());
    let id: DeploymentId = "default.digits".parse().unwrap();
    assert_eq!(sink.mark_suspect(&id, RevisionId::new(1, 1)).await.unwrap(), 1);
    assert_eq!(sink.mark_suspect(&id, RevisionId::new(1, 1)).await.unwrap(), 0);
    assert!(folder.path().join("default/digits/_suspect-1-1").is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_or_bucket_is_told_as_such_and_no_secret_with_it() {
    let server = S3Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        format!("file:{}", path.display()).parse().unwrap()
    };
    let mut output = S3Output {
        bucket: S3Server::BUCKET.to_owned(),
        prefix: "p".to_owned(),
        endpoint: Some(server.endpoint()),
        region: None,
        access_key: Some(file("access", S3Server::ACCESS_KEY)),
        // As an editor leaves it.
        secret_key: Some(file("secret", &format!("{}\n", S3Server::SECRET_KEY))),
        format: ObjectFormat::Ndjson,
        compression: None,
        partition: Partitioning::Day,
    };
    let id: DeploymentId = "default.digits".parse().unwrap();
    ObjectsSink::in_bucket(&output, &Objects::default()).unwrap().prove(&id).await.unwrap();
    output.bucket = "nobodys".to_owned();
    let error = ObjectsSink::in_bucket(&output, &Objects::default()).unwrap().prove(&id).await.unwrap_err();
    assert_eq!(error.cause(), slipway_kernel::Cause::Deterministic, "{error:?}");
    output.bucket = S3Server::BUCKET.to_owned();
    output.secret_key = Some(file("wrong", "not-the-secret"));
    let error = ObjectsSink::in_bucket(&output, &Objects::default()).unwrap().prove(&id).await.unwrap_err();
    assert_eq!(error.cause(), slipway_kernel::Cause::Deterministic, "{error:?}");
    assert!(error.spoils_the_sink(), "a key that was replaced is read anew");
    assert!(!format!("{error:?} {}", crate::error::chain(&error)).contains("not-the-secret"));
    output.secret_key = Some(file("empty", ""));
    assert!(matches!(ObjectsSink::in_bucket(&output, &Objects::default()), Err(SinkError::SecretMissing { .. })));
}

/// How many rows a second go into objects on this machine: `cargo test -p slipway-sink-writer -- --ignored --nocapture rows_a_second`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn rows_a_second() {
    let (stores, _kept) = stores().await;
    let rows: Vec<Row> = (0..50_000).map(|n| row_for_test(&format!("0199f0a0-0000-7000-8000-{n:012}"))).collect();
    for store in &stores {
        for layout in layouts() {
            let sink = sink(store, &format!("bench-{:?}-{:?}", layout.format, layout.compression), layout);
            let started = std::time::Instant::now();
            for (n, batch) in rows.chunks(10_000).enumerate() {
                assert_eq!(write(&sink, batch).await.unwrap(), 10_000, "{n}");
            }
            let took = started.elapsed();
            let bytes: u64 = store
                .list(Some(&sink.prefix))
                .try_fold(0, |sum, object| std::future::ready(Ok(sum + object.size)))
                .await
                .unwrap();
            println!("{store} {layout:?}: {:.0} rows/s, {} bytes", 50_000.0 / took.as_secs_f64(), bytes);
            assert!(took < Duration::from_secs(120));
        }
    }
}
