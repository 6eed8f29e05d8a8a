//! A real object store that speaks S3 (SeaweedFS).

use crate::{Program, free_port, tools::tool};
use rustix::process::Signal;
use std::{fs, path::Path, process::Command, time::Duration};
use tempfile::TempDir;

/// Master, volume server, filer and S3 come up one after the other.
const START: Duration = Duration::from_secs(60);

/// An object store with one bucket and one key, on free ports of the loopback.
#[derive(Debug)]
pub struct S3Server {
    program: Program,
    folder: TempDir,
    ports: Ports,
}

/// Of each part its HTTP door, and the one of gRPC.
#[derive(Clone, Copy, Debug)]
struct Ports {
    master: [u16; 2],
    volume: [u16; 2],
    filer: [u16; 2],
    s3: [u16; 2],
}

impl Ports {
    fn free() -> Self {
        let two = || [free_port(), free_port()];
        Self { master: two(), volume: two(), filer: two(), s3: two() }
    }

    fn named(self) -> [(&'static str, [u16; 2]); 4] {
        [("master", self.master), ("volume", self.volume), ("filer", self.filer), ("s3", self.s3)]
    }
}

impl S3Server {
    /// The bucket that is there.
    pub const BUCKET: &str = "results";
    /// The access key.
    pub const ACCESS_KEY: &str = "slipway-test";
    /// The secret key.
    pub const SECRET_KEY: &str = "slipway-test-secret";

    /// Starts with the bucket made; ready when an object can be written.
    ///
    /// # Panics
    /// When it is not installed or not ready in time.
    pub async fn start() -> Self {
        slipway_runtime::tls::install_provider();
        let folder = tempfile::Builder::new().prefix("slipway-s3-").tempdir().expect("a temporary folder");
        let ports = Ports::free();
        let program = start(folder.path(), ports);
        let mut server = Self { program, folder, ports };
        server.wait_ready().await;
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.s3[0])
    }

    /// Ends it as a power cut would.
    pub async fn kill9(&mut self) {
        self.program.kill9().await;
    }

    /// Starts it again with what it had.
    pub async fn restart(&mut self) {
        self.program = start(self.folder.path(), self.ports);
        self.wait_ready().await;
    }

    async fn wait_ready(&mut self) {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client");
        let (filer, s3) = (self.ports.filer[0], self.ports.s3[0]);
        // A bucket is a folder of the filer, which asks for no signature; a file in it makes it, and needs a volume to lie on.
        let probe = format!("http://127.0.0.1:{filer}/buckets/{}/.ready", Self::BUCKET);
        let door = format!("http://127.0.0.1:{s3}/");
        let ready = || async {
            let asked = [client.put(&probe).body("ready").send().await, client.delete(&probe).send().await];
            // Whoever has no key is refused.
            asked.into_iter().all(|answer| answer.is_ok_and(|answer| answer.status().is_success()))
                && client.get(&door).send().await.is_ok_and(|answer| answer.status() == 403)
        };
        self.program.wait_ready(START, ready).await;
    }
}

impl Drop for S3Server {
    /// Takes away the sockets that it makes in a place which cannot be chosen.
    fn drop(&mut self) {
        for (name, [_, grpc]) in self.ports.named() {
            let _ = fs::remove_file(format!("/tmp/seaweedfs-{name}-grpc-{grpc}.sock"));
        }
    }
}

fn start(folder: &Path, ports: Ports) -> Program {
    let keys = serde_json::json!({ "identities": [{
        "name": "test",
        "credentials": [{ "accessKey": S3Server::ACCESS_KEY, "secretKey": S3Server::SECRET_KEY }],
        "actions": ["Read", "Write", "List", "Tagging"]
    }] });
    let config = folder.join("s3.json");
    fs::write(&config, keys.to_string()).expect("a file");
    let data = folder.join("data");
    fs::create_dir_all(&data).expect("a folder");
    let mut command = Command::new(tool("weed"));
    command.current_dir(folder).args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
    command.arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", config.display()));
    // What is not named has a fixed port, or that of its HTTP door plus 10000.
    for (name, [http, grpc]) in ports.named() {
        command.arg(format!("-{name}.port={http}")).arg(format!("-{name}.port.grpc={grpc}"));
    }
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
    for (name, socket) in [("filer.localSocket", "filer.sock"), ("s3.localSocket", "s3.sock")] {
        command.arg(format!("-{name}={}", folder.join(socket).display()));
    }
    // It reports to its makers unless told not to.
    command.arg("-master.telemetry=false");
    // Small volumes: a test writes little, and each takes room on the disk. It asks for a hundredth of the disk, which says nothing
    // of what a test needs: on a large disk it refuses every write with gigabytes left.
    command.args(["-master.volumeSizeLimitMB=64", "-volume.max=20", "-volume.minFreeSpace=64MiB"]);
    // In good order it takes twenty seconds to end, and nothing of it is kept.
    Program::start("weed", command, &folder.join("weed.log")).ends_with(Signal::KILL)
}
