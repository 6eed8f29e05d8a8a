//! What stands in for a worker in a pod: the inner door of one, started anew under its name whenever it was told to end.

use serde_json::Value;
use slipway_bus::{Bus, WorkerRecord, WorkerState};
use slipway_kernel::{DeploymentId, RevisionId, Timestamp};
use slipway_proto::slipway::inference::v1::{
    AbortRequest, AbortResponse,
    worker_control_server::{WorkerControl, WorkerControlServer},
};
use slipway_runtime::tls::{self, SpiffeId};
use slipway_testkit::Authority;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, sync::Notify};
use tonic::{Request, Response, Status, transport::Server};

/// How long it takes to be started anew.
const ANEW: Duration = Duration::from_millis(300);

/// The worker.
#[derive(Debug, Default)]
pub(crate) struct Standin {
    pub(crate) lives: AtomicBool,
    pub(crate) aborts: AtomicU64,
    told: Notify,
}

fn now() -> Timestamp {
    Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
}

struct Door {
    standin: Arc<Standin>,
    instance: String,
    since: Timestamp,
}

#[tonic::async_trait]
impl WorkerControl for Door {
    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<AbortResponse>, Status> {
        let AbortRequest { instance, since_unix_ms } = request.into_inner();
        assert_eq!((instance.as_str(), since_unix_ms), (self.instance.as_str(), i64::try_from(self.since.0).unwrap()));
        self.standin.lives.store(false, Ordering::SeqCst);
        self.standin.aborts.fetch_add(1, Ordering::SeqCst);
        self.standin.told.notify_one();
        Ok(Response::new(AbortResponse {}))
    }
}

impl Standin {
    /// Serves and is registered until the test ends.
    pub(crate) async fn live(
        self: Arc<Self>,
        bus: Bus,
        authority: Arc<Authority>,
        id: DeploymentId,
        revision: RevisionId,
    ) {
        let instance = "digits-1-1-6d4cf56db6-x2x4z".to_owned();
        let mut registration = None;
        loop {
            let member = authority.member(&SpiffeId::Revision { deployment: id.clone(), revision });
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let record = WorkerRecord {
                deployment: id.clone(),
                revision,
                instance: instance.clone(),
                host: "node-1".into(),
                address: listener.local_addr().unwrap().to_string(),
                admin: "127.0.0.1:2".into(),
                pid: 1,
                fencing_token: 1,
                state: WorkerState::Ready,
                measurements: Vec::new(),
                detail: Value::Null,
                since: now(),
            };
            let door = Door { standin: Arc::clone(&self), instance: instance.clone(), since: record.since };
            let config = member.server_config(|peer| matches!(peer, SpiffeId::Service(_))).unwrap();
            let serving = Server::builder()
                .add_service(WorkerControlServer::new(door))
                .serve_with_incoming(tls::incoming(listener, config).unwrap());
            let serving = tokio::spawn(serving);
            // Who was killed left its entry behind.
            match &registration {
                None => registration = Some(bus.workers().register(record).await.unwrap()),
                Some(registration) => registration.update(|entry| *entry = record).await.unwrap(),
            }
            self.lives.store(true, Ordering::SeqCst);
            self.told.notified().await;
            // The answer is on its way.
            tokio::time::sleep(Duration::from_millis(50)).await;
            serving.abort();
            tokio::time::sleep(ANEW).await;
        }
    }
}
