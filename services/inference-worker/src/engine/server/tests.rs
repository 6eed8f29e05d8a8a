//! Against a real server of the protocol: another worker, in a runtime of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use slipway_kernel::{ModelFormat, Span};
use slipway_proto::oip::Tensor;
use slipway_runtime::{CancellationToken, Frame};
use tokio::runtime::{Builder, Runtime};

use super::{ServerConfig, ServerEngine, ServerKind};
use crate::config::WorkerConfig;
use crate::engine::choice::Wanted;
use crate::engine::device::DeviceWanted;
use crate::engine::tract::{TractEngine, fixtures};
use crate::engine::{Batching, Engine as _, EngineError, LoadOptions, Model, Tolerance, compare};
use crate::front::FrontLimits;
use crate::standalone::{Options, Standalone};

/// What it serves, and takes at once.
const MODEL: &str = "digits";
const ROWS: usize = 4;

/// Ends when it is dropped.
struct Server {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = runtime.block_on(serve());
        Self { address, runtime: Some(runtime) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn serve() -> SocketAddr {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("digits.onnx");
    std::fs::write(&model, fixtures::bytes(&fixtures::classifier())).unwrap();
    let worker = WorkerConfig { engine: Wanted::Tract, max_batch: ROWS, fixed_batch: true, ..WorkerConfig::default() };
    let options = Options {
        model,
        name: MODEL.parse().unwrap(),
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        worker,
        limits: FrontLimits { body: 1 << 20, timeout: Duration::from_secs(5) },
    };
    let server = Standalone::open(options, &Frame::for_test("inference-worker")).await.unwrap();
    let address = server.addresses()[0];
    tokio::spawn(server.serve(CancellationToken::new()));
    address
}

fn config(address: SocketAddr) -> ServerConfig {
    let patience = Span::millis(300);
    let model = MODEL.to_owned();
    ServerConfig { kind: ServerKind::OpenInference, address, model, start_timeout: patience, ..ServerConfig::default() }
}

fn load(config: &ServerConfig, max_batch: usize) -> Result<Box<dyn Model>, EngineError> {
    let engine = ServerEngine::of(config, ModelFormat::Onnx, DeviceWanted::Auto).unwrap();
    engine.load(b"it has the model already", &LoadOptions { max_batch, ..LoadOptions::default() })
}

fn rows(count: usize, first: f32) -> [Tensor; 1] {
    let values: Vec<f32> = (0..count * 4).map(|place| first + place as f32).collect();
    [Tensor::from_f32("X", vec![count, 4], &values).unwrap()]
}

#[test]
fn what_the_server_computes_is_what_the_model_gives_alone_and_in_batches() {
    let server = Server::start();
    let model = load(&config(server.address), ROWS).unwrap();
    let own = TractEngine.load(&fixtures::bytes(&fixtures::classifier()), &LoadOptions::default()).unwrap();
    assert_eq!((model.signature(), model.batching()), (own.signature(), &Batching::Rows));
    assert!(model.plan().starts_with("computed by onnx_tract in the model server at 127.0.0.1:"), "{}", model.plan());
    let (one, three) = (rows(1, 0.5), rows(3, -2.0));
    for requests in [&[one.as_slice()][..], &[one.as_slice(), three.as_slice()]] {
        let (found, expected) = (model.run(requests).unwrap(), own.run(requests).unwrap());
        assert_eq!(found.len(), expected.len());
        for (expected, found) in expected.iter().zip(&found) {
            compare::tensors(expected, found, Tolerance::default()).unwrap();
        }
    }
}

#[test]
fn a_runtime_of_one_thread_may_wait_for_it_and_let_it_go() {
    let server = Server::start();
    let model = load(&config(server.address), ROWS).unwrap();
    let alone = Builder::new_current_thread().enable_all().build().unwrap();
    alone.block_on(async move {
        assert_eq!(model.run(&[&rows(1, 0.0)]).unwrap().len(), 2);
        drop(model);
    });
}

#[test]
fn who_is_not_there_or_lacks_the_model_is_waited_for_and_named() {
    let nobody = slipway_testkit::free_port();
    let error = load(&config(SocketAddr::from(([127, 0, 0, 1], nobody))), ROWS).unwrap_err();
    assert!(matches!(error, EngineError::ServerSilent { .. }), "{error}");
    assert!(error.to_string().contains("is not ready after 300ms: "), "{error}");
    let server = Server::start();
    let unknown = ServerConfig { model: "letters".to_owned(), ..config(server.address) };
    let error = load(&unknown, ROWS).unwrap_err().to_string();
    assert!(error.contains("letters"), "in the server's words: {error}");
}

#[test]
fn a_server_that_takes_fewer_rows_than_are_sent_is_refused_with_both_figures() {
    let server = Server::start();
    let error = load(&config(server.address), ROWS + 1).unwrap_err().to_string();
    assert!(error.contains("it takes 4 rows at once where worker.max_batch is 5"), "{error}");
}

#[test]
fn what_the_server_refuses_fails_that_run_in_its_words_and_so_does_a_server_that_ended() {
    let server = Server::start();
    let model: Arc<dyn Model> = load(&config(server.address), ROWS).unwrap().into();
    let wide = [Tensor::from_f32("X", vec![1, 5], &[0.0; 5]).unwrap()];
    let error = model.run(&[&wide]).unwrap_err().to_string();
    assert!(error.contains("inputs[0].shape"), "{error}");
    assert!(model.run(&[&rows(1, 0.0)]).is_ok());
    drop(server);
    assert!(matches!(model.run(&[&rows(1, 0.0)]), Err(EngineError::Run(_))));
}
