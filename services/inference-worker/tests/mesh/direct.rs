//! The direct path, from start to drain.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use slipway_bus::WorkerState;
use slipway_kernel::Service;
use slipway_proto::oip::response_tensors;
use slipway_testkit::eventually;
use tonic::Code;

use crate::harness::{Mesh, PATIENCE, deployment, direct, golden};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_becomes_warm_then_ready_answers_ingress_and_drains() {
    let (mesh, config) = Mesh::start("digits-v2").await;
    let running = mesh.run(config);

    let warm = mesh.until(WorkerState::Warm).await;
    assert_eq!(warm.fencing_token, 3);
    let figure = |name: &str| warm.measurements.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    assert!(figure("load-time").unwrap() > 0.0);
    assert!(figure("row-time").unwrap() > 0.0);
    assert!((1.0..=4.0).contains(&figure("max-batch").unwrap()));
    assert_eq!(warm.detail["signature"]["inputs"][0]["name"], "X");
    let missing: Vec<_> = running.frame.health.not_ready().into_iter().map(|missing| missing.condition).collect();
    assert_eq!(missing, ["identity"]);

    mesh.grant();
    mesh.until(WorkerState::Ready).await;
    assert!(running.frame.health.is_ready());

    let mut ingress = mesh.client(Service::Ingress).await.unwrap();
    let (rows, labels) = golden(20);
    let mut request = direct("r-1", &rows);
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    let response = ingress.model_infer(request).await.unwrap().into_inner();
    let found = response_tensors(&response).unwrap()[0].as_i64().unwrap();
    let right = found.iter().zip(&labels).filter(|(a, b)| a == b).count();
    assert!(right >= 19, "{right} of 20");

    // Who answers the client records, and nobody else.
    assert_eq!(mesh.ingress.results().get(&deployment(), &"r-1".parse().unwrap()).await.unwrap(), None);

    running.stop().await.unwrap();
    assert!(mesh.worker().await.is_none(), "it has deregistered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_ingress_and_the_validator_get_through_the_door() {
    let (mesh, config) = Mesh::start("digits-v1").await;
    let running = mesh.run(config);
    mesh.grant();
    mesh.until(WorkerState::Ready).await;
    let (rows, _) = golden(1);
    for service in Service::ALL {
        let allowed = matches!(service, Service::Ingress | Service::Validator);
        // With TLS 1.3 a client learns only by its first request that it was refused.
        let through = match mesh.client(service).await {
            Ok(mut client) => client.model_infer(direct(&format!("r-{service}"), &rows)).await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(through, allowed, "{service}");
    }
    // Neither without any certificate.
    let address = mesh.worker().await.unwrap().address;
    let plain = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await;
    if let Ok(channel) = plain {
        let mut client =
            slipway_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient::new(channel);
        assert!(client.model_infer(direct("r-plain", &rows)).await.is_err());
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_no_request() {
    let (mesh, config) = Mesh::start("digits-v2").await;
    let running = mesh.run(config);
    mesh.grant();
    mesh.until(WorkerState::Ready).await;
    let (rows, _) = golden(1);
    let client = mesh.client(Service::Ingress).await.unwrap();
    let shutdown = running.frame.shutdown.clone();
    let answered_in_all = Arc::new(AtomicU32::new(0));
    // Callers send one request after the other until they are told, by a refusal that may be retried, to go elsewhere.
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (mut client, rows, shutdown, answered_in_all) =
                (client.clone(), rows.clone(), shutdown.clone(), Arc::clone(&answered_in_all));
            tokio::spawn(async move {
                let mut answered: u32 = 0;
                loop {
                    match client.model_infer(direct(&format!("d-{caller}-{answered}"), &rows)).await {
                        Ok(_) => {
                            answered += 1;
                            answered_in_all.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(status) => {
                            assert!(shutdown.is_cancelled(), "refused before the drain: {status:?}");
                            // Either the worker says so, or the connection was closed before the request was sent.
                            let unsent = status.code() == Code::Cancelled && status.source().is_some();
                            assert!(unsent || status.code() == Code::Unavailable, "{status:?}");
                            return answered;
                        }
                    }
                }
            })
        })
        .collect();
    eventually(PATIENCE, || async { answered_in_all.load(Ordering::Relaxed) > 80 }).await;
    running.stop().await.unwrap();
    for (caller, answered) in callers.into_iter().enumerate() {
        let answered = tokio::time::timeout(PATIENCE, answered).await.unwrap().unwrap();
        assert!(answered > 0, "caller {caller}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_broker_requests_are_answered_and_the_worker_lives_on() {
    let (mut mesh, config) = Mesh::start("digits-v1").await;
    let running = mesh.run(config);
    mesh.grant();
    mesh.until(WorkerState::Ready).await;
    let mut client = mesh.client(Service::Ingress).await.unwrap();
    let (rows, _) = golden(1);
    client.model_infer(direct("b-1", &rows)).await.unwrap();
    mesh.nats.stop().await;
    client.model_infer(direct("b-2", &rows)).await.unwrap();
    mesh.nats.restart().await;
    client.model_infer(direct("b-3", &rows)).await.unwrap();
    assert!(!running.task.is_finished(), "the worker lived on");
    running.stop().await.unwrap();
}
