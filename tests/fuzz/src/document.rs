//! A deployment's document, as JSON.
//!
//! Holds: what is accepted is read again from its own JSON, with the same digest; what is refused is refused by paths, in bounds,
//! in memory in proportion to the document.

use crate::{memory::peak, refusals};
use serde_json::Value;
use slipway_kernel::spec::ModelDeployment;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(data) else { return };
    let (read, took) = peak(|| ModelDeployment::read(&document));
    // The schema, which a refusal takes the known fields from, is most of it.
    assert!(took <= 64 * data.len() + 256 * 1_024, "{took} bytes for a document of {}", data.len());
    match read {
        Ok(deployment) => {
            let written = serde_json::to_value(&deployment).unwrap();
            let again = ModelDeployment::read(&written).unwrap_or_else(|refusals| panic!("{refusals}: {written}"));
            assert_eq!(again, deployment);
            assert_eq!(again.digest(), deployment.digest());
            assert_eq!(serde_json::to_value(&again).unwrap(), written);
        }
        Err(refused) => refusals::check(&refused),
    }
}
