//! Files of this machine for a mesh that runs elsewhere: they go into its store, and the document names them by what they are.

use crate::{
    document::local_file,
    failure::{Failure, chain},
    output::{self, Mark},
};
use slipway_bus::{BlobError, Bus};
use slipway_kernel::spec::{ModelDeployment, blob_uri};
use std::path::Path;

/// What the store notes of a model; its format is told from its content.
const MODEL: &str = "application/octet-stream";
/// What it notes of golden rows.
const GOLDEN: &str = "application/x-ndjson";

/// Puts the files that the document names into the store, and has the document name them there. What is there already is not sent again.
pub(crate) async fn files(bus: &Bus, document: &mut ModelDeployment, tell: bool) -> Result<(), Failure> {
    let spec = &mut document.spec;
    let model = std::iter::once(("spec.model.uri", MODEL, &mut spec.model.uri));
    let golden = spec.validation.golden.as_mut().map(|uri| ("spec.validation.golden", GOLDEN, uri));
    for (path, media, uri) in model.chain(golden) {
        let Some(file) = local_file(uri) else { continue };
        let stored = put(bus, path, &file, media).await?;
        if tell {
            output::line(format!("{} {} is in the store of the mesh", Mark::Good.sign(), file.display()));
        }
        *uri = stored;
    }
    Ok(())
}

async fn put(bus: &Bus, path: &str, file: &Path, media: &str) -> Result<String, Failure> {
    let shown = file.display();
    let stored = bus.blobs().put_file(file, media).await.map_err(|error| match &error {
        BlobError::Io { .. } => Failure::input(format!("{path}: {}", chain(&error))).hint(
            "the mesh runs elsewhere, so the file must be here; `--no-upload` if the path is one of the mesh's own",
        ),
        BlobError::TooLarge { .. } => Failure::input(format!("{path}: {error}")),
        _ => Failure::unreachable(format!("{shown} could not be stored: {}", chain(&error))),
    })?;
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    Ok(blob_uri(&stored.digest, &name))
}
