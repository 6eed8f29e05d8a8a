//! Memory of `slipway up` when nothing happens.

use crate::figures::{peak, resident};
use slipway_testkit::{Mesh, MeshOptions, slipway_binary};
use std::time::Duration;

/// By then what the start took has settled; reports, sweeps and renewals have come round several times.
const SETTLE: Duration = Duration::from_secs(15);

/// What was measured.
pub struct Idle {
    /// In MiB.
    pub now: f64,
    pub peak: f64,
    /// `release` or `debug`: the folder of the program.
    pub build: String,
}

/// Starts the program as a user does; why not, if that did not come about.
pub async fn measure() -> Result<Idle, String> {
    // The testkit panics where a test would fail; the other figures are wanted nevertheless.
    let measured = tokio::spawn(async {
        let mut mesh = Mesh::start_with(MeshOptions { log: "warn".to_owned(), ..MeshOptions::default() }).await;
        tokio::time::sleep(SETTLE).await;
        let pid = mesh.program().pid();
        let build = slipway_binary().parent().and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
        let read = resident(pid).zip(peak(pid));
        mesh.stop().await;
        read.map(|(now, peak)| Idle { now, peak, build: build.unwrap_or_default() })
    });
    match measured.await {
        Ok(Some(idle)) => Ok(idle),
        Ok(None) => Err("it ended before its memory could be read".to_owned()),
        Err(error) => Err(format!("it did not start: {error}")),
    }
}
