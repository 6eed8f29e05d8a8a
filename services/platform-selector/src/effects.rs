//! The world as the platform-selector touches it: fetching, reading and pinning what a spec names. A bench or test puts a
//! simulated one in its place.

use crate::{
    config::{Config, FetchConfig},
    domain::artifact::Model,
    examine,
    fetch::{Fetched, Fetcher, Limit, SystemResolver},
};
use async_trait::async_trait;
use slipway_bus::{Bus, DutyError};
use slipway_kernel::{
    BlobReference, DeploymentId, Finding, FindingKind, ModelFacts, ModelFormat,
    spec::{Platform, Spec},
};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// What is to be examined.
#[derive(Clone, Debug)]
pub struct Order {
    /// For which deployment.
    pub deployment: DeploymentId,
    /// What is wanted.
    pub spec: Spec,
}

/// What was fetched, read and pinned.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What was read of the model.
    pub model: Model,
    /// The same as it stands in facts.
    pub facts: ModelFacts,
    /// The golden rows, pinned.
    pub golden: Option<BlobReference>,
}

/// Why nothing was examined.
#[derive(Debug)]
pub enum ExamineError {
    /// The spec names what cannot be used; never empty.
    Findings(Vec<Finding>),
    /// The blob store did not take it: the duty is tried again.
    Store(DutyError),
}

/// The world.
#[async_trait]
pub trait Effects: Send + Sync + 'static {
    /// Fetches, reads and pins what the spec names.
    async fn examine(&self, order: &Order, bus: &Bus) -> Result<Examined, ExamineError>;
}

/// Folders of downloads that a process left behind are removed after this: no download takes so long.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3_600);
const INCOMING: &str = "incoming-";

/// The real world: a folder of this machine, the web, the broker.
#[derive(Clone)]
pub struct Workshop {
    fetcher: Fetcher,
    folder: PathBuf,
    config: FetchConfig,
}

/// What was fetched and read, not pinned yet. The files go when this goes.
pub(crate) struct Looked {
    pub(crate) model: Model,
    artifact: Fetched,
    golden: Option<(Fetched, u64)>,
    _folder: TempDir,
}

impl Workshop {
    /// A workshop below `data_dir`.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn new(config: &Config, data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("artifacts");
        // Models are their owners' secrets.
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        sweep(&folder);
        let fetcher = Fetcher::new(config, Arc::new(SystemResolver));
        Ok(Self { fetcher, folder, config: config.fetch.clone() })
    }

    /// Fetches and reads what the spec names.
    pub(crate) async fn look(&self, spec: &Spec, bus: Option<&Bus>) -> Result<Looked, Vec<Finding>> {
        let incoming = tempfile::Builder::new().prefix(INCOMING).tempdir_in(&self.folder);
        let incoming = incoming.map_err(|error| vec![no_folder(&error)])?;
        let path = "spec.model.uri";
        let limit = Limit { bytes: self.config.max_model.0, key: "fetch.max_model" };
        let artifact = self.fetcher.fetch(&spec.model.uri, &incoming.path().join("model"), limit, bus).await;
        let artifact = artifact.map_err(|error| vec![error.finding(path, &spec.model.uri)])?;
        verify(spec, &artifact)?;
        let about = About { path, uri: &spec.model.uri, fetched: &artifact };
        let mut model = match spec.model.format {
            // Whatever it is: only the container that it is for reads it.
            Some(ModelFormat::Other) => Model::of_format(ModelFormat::Other),
            _ => read(&artifact, examine::model).await.map_err(|error| vec![about.finding(&error)])?,
        };
        right_format(spec, &model, &about)?;
        match &spec.model.signature {
            Some(signature) if spec.serving.platform == Platform::Container => model.wrap(signature),
            Some(signature) => {
                let about = About { path: "spec.model.signature", ..about };
                model.sign(signature).map_err(|invalid| vec![about.finding(&invalid.into())])?;
            }
            None => {}
        }
        let golden = match &spec.validation.golden {
            Some(uri) => Some(self.golden(uri, &incoming, &model, bus).await?),
            None => None,
        };
        Ok(Looked { model, artifact, golden, _folder: incoming })
    }

    async fn golden(
        &self,
        uri: &str,
        incoming: &TempDir,
        model: &Model,
        bus: Option<&Bus>,
    ) -> Result<(Fetched, u64), Vec<Finding>> {
        let path = "spec.validation.golden";
        let limit = Limit { bytes: self.config.max_golden.0, key: "fetch.max_golden" };
        let fetched = self.fetcher.fetch(uri, &incoming.path().join("golden"), limit, bus).await;
        let fetched = fetched.map_err(|error| vec![error.finding(path, uri)])?;
        // Where the signature is not wholly known no platform will serve the model, and that says more than its rows.
        if !model.is_signed() {
            return Ok((fetched, 0));
        }
        let (max_rows, known) = (self.config.max_golden_rows, model.clone());
        let rows = read(&fetched, move |file| examine::golden(file, &known, max_rows)).await;
        let about = About { path, uri, fetched: &fetched };
        let rows = rows.map_err(|error| vec![about.finding(&error)])?;
        Ok((fetched, rows))
    }
}

#[async_trait]
impl Effects for Workshop {
    async fn examine(&self, order: &Order, bus: &Bus) -> Result<Examined, ExamineError> {
        let looked = self.look(&order.spec, Some(bus)).await.map_err(ExamineError::Findings)?;
        let pin = async |fetched: &Fetched, media: &str| {
            let pinned = bus.blobs().put_file(&fetched.path, media).await;
            let pinned = pinned.map_err(|error| ExamineError::Store(error.into()))?;
            if pinned.digest == fetched.digest {
                return Ok(pinned);
            }
            // Our own copy changed between reading and pinning: nothing that was read of it holds.
            let message = format!("our copy of {} changed while it was read; see to the disk", fetched.digest);
            Err(ExamineError::Findings(vec![Finding::transient(FindingKind::DependencyUnavailable, message)]))
        };
        pin(&looked.artifact, "application/octet-stream").await?;
        let golden = match &looked.golden {
            Some((fetched, _)) => Some(pin(fetched, "application/jsonl").await?),
            None => None,
        };
        Ok(Examined { facts: looked.facts(), model: looked.model, golden })
    }
}

impl Looked {
    /// What was read, as it stands in facts.
    pub(crate) fn facts(&self) -> ModelFacts {
        let model = &self.model;
        ModelFacts {
            digest: self.artifact.digest.clone(),
            size_bytes: self.artifact.size_bytes,
            format: model.format,
            inputs: model.inputs.clone(),
            outputs: model.outputs.clone(),
            operators: model.operators.clone(),
            parameters: model.parameters,
            memory_estimate_bytes: model.memory_estimate_bytes,
            opset: model.opset,
            producer: model.producer.clone(),
        }
    }

    /// How many golden rows there are.
    pub(crate) fn golden_rows(&self) -> Option<u64> {
        self.golden.as_ref().map(|(_, rows)| *rows)
    }
}

/// What a finding is about.
struct About<'a> {
    path: &'static str,
    uri: &'a str,
    fetched: &'a Fetched,
}

impl About<'_> {
    fn finding(&self, error: &examine::ExamineError) -> Finding {
        let mut said = error.to_string();
        if let (Some(cause), false) =
            (std::error::Error::source(error), matches!(error, examine::ExamineError::Invalid(_)))
        {
            said = format!("{said}: {cause}");
        }
        let message = format!("{}: {}: {said}", self.path, crate::fetch::shown(self.uri));
        let finding = if error.is_ours() {
            Finding::transient(FindingKind::DependencyUnavailable, message)
        } else {
            Finding::deterministic(FindingKind::ArtifactInvalid, message)
        };
        finding.with_evidence(self.path).with_evidence(format!("sha256:{}", self.fetched.digest))
    }
}

fn verify(spec: &Spec, artifact: &Fetched) -> Result<(), Vec<Finding>> {
    let Some(wanted) = spec.model.sha256.as_ref().filter(|wanted| **wanted != artifact.digest) else {
        return Ok(());
    };
    let message = format!(
        "spec.model.sha256: the artifact at {} has the digest {}, and {wanted} is wanted; see that it is the right file, or correct the digest",
        crate::fetch::shown(&spec.model.uri),
        artifact.digest
    );
    let finding = Finding::deterministic(FindingKind::ArtifactInvalid, message);
    Err(vec![finding.with_evidence("spec.model.sha256").with_evidence(format!("sha256:{}", artifact.digest))])
}

fn right_format(spec: &Spec, model: &Model, about: &About<'_>) -> Result<(), Vec<Finding>> {
    let Some(wanted) = spec.model.format.filter(|wanted| *wanted != model.format) else {
        return Ok(());
    };
    let found = model.format;
    let message = format!(
        "spec.model.format: {wanted} is wanted, and the content of {} is {found}; correct one of them",
        crate::fetch::shown(about.uri)
    );
    let finding = Finding::deterministic(FindingKind::ArtifactInvalid, message);
    Err(vec![finding.with_evidence("spec.model.format").with_evidence(format!("sha256:{}", about.fetched.digest))])
}

/// Reads a file on a thread that may block.
async fn read<T: Send + 'static>(
    fetched: &Fetched,
    reader: impl FnOnce(&Path) -> Result<T, examine::ExamineError> + Send + 'static,
) -> Result<T, examine::ExamineError> {
    let path = fetched.path.clone();
    let read = tokio::task::spawn_blocking(move || reader(&path)).await;
    read.unwrap_or_else(|error| Err(examine::ExamineError::Io(io::Error::other(error))))
}

/// A finding for a working folder that cannot be used.
pub(crate) fn no_folder(error: &io::Error) -> Finding {
    let message = format!("the folder for artifacts below common.data_dir cannot be used: {error}");
    Finding::transient(FindingKind::DependencyUnavailable, message)
}

/// Removes what processes that were killed left behind.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(INCOMING);
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|modified| modified.elapsed());
        if ours && matches!(age, Ok(Ok(age)) if age > LEFT_BEHIND) {
            // Another process may be at it too; what stays is tried at the next start.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{Cause, Digest, ModelFormat, spec::ModelDeployment};

    fn file(name: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        format!("file://{}", folder.join(name).display())
    }

    fn spec(uri: &str) -> Spec {
        let document = serde_json::json!({ "metadata": { "name": "d" }, "spec": { "model": { "uri": uri } } });
        ModelDeployment::read(&document).unwrap().spec
    }

    fn workshop(folder: &TempDir) -> Workshop {
        Workshop::new(&Config::default(), folder.path()).unwrap()
    }

    async fn found(spec: &Spec) -> Finding {
        let folder = tempfile::tempdir().unwrap();
        let Err(mut findings) = workshop(&folder).look(spec, None).await else { panic!("it must be refused") };
        assert_eq!(findings.len(), 1);
        assert_eq!(fs::read_dir(folder.path().join("artifacts")).unwrap().count(), 0, "nothing is left behind");
        findings.remove(0)
    }

    #[tokio::test]
    async fn a_good_model_with_its_golden_rows_is_read_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut spec = spec(&file("infra/examples/digits-v2.onnx"));
        spec.validation.golden = Some(file("infra/examples/digits-v2.golden.jsonl"));
        let looked = workshop(&folder).look(&spec, None).await.unwrap();
        assert_eq!(looked.golden_rows(), Some(540));
        let facts = looked.facts();
        assert_eq!(facts.format, ModelFormat::Onnx);
        assert_eq!(facts.size_bytes, 40_147);
        spec.model.sha256 = Some(facts.digest);
        spec.model.format = Some(ModelFormat::Onnx);
        drop(looked);
        assert!(workshop(&folder).look(&spec, None).await.is_ok());
        assert_eq!(fs::read_dir(folder.path().join("artifacts")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn every_bad_artifact_is_a_lasting_finding_with_path_address_and_advice() {
        let mut wrong_digest = spec(&file("infra/examples/digits-v1.onnx"));
        wrong_digest.model.sha256 = Some(Digest::of(b"something else"));
        let mut wrong_format = spec(&file("infra/examples/digits-v1.onnx"));
        wrong_format.model.format = Some(ModelFormat::SavedModel);
        let mut wrong_rows = spec(&file("infra/examples/digits-v1.onnx"));
        wrong_rows.validation.golden = Some(file("infra/examples/breast-cancer.golden.jsonl"));
        let mut missing_rows = spec(&file("infra/examples/digits-v1.onnx"));
        missing_rows.validation.golden = Some(file("infra/examples/nowhere.jsonl"));
        for (spec, words) in [
            (spec(&file("infra/examples/nowhere.onnx")), ["spec.model.uri: file://", "No such file"]),
            (spec(&file("infra/examples")), ["spec.model.uri: file://", "it is a folder"]),
            (spec("file:///dev/zero"), ["spec.model.uri: file:///dev/zero", "no regular file"]),
            (spec(&file("tests/data/pickle.onnx")), ["pickle (protocol 4)", "export the model"]),
            (spec(&file("tests/data/truncated.onnx")), ["cut short", "fetch or export it again"]),
            (spec("nats-object://slipway-blobs/x"), ["Slipway's own", "nats-object://bucket/name"]),
            (wrong_digest, ["spec.model.sha256", "is wanted"]),
            (wrong_format, ["spec.model.format: saved-model is wanted", "is onnx"]),
            (wrong_rows, ["spec.validation.golden: file://", "line 1: `X` has 30 values; one row has 64"]),
            (missing_rows, ["spec.validation.golden: file://", "No such file"]),
        ] {
            let finding = found(&spec).await;
            assert_eq!(
                (finding.kind, finding.cause),
                (FindingKind::ArtifactInvalid, Cause::Deterministic),
                "{finding:?}"
            );
            for word in words {
                assert!(finding.message.contains(word), "{word}: {}", finding.message);
            }
            assert!(!finding.evidence.is_empty());
        }
    }

    #[tokio::test]
    async fn a_file_beyond_the_limit_names_the_key_that_sets_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.fetch.max_model = slipway_kernel::ByteSize(100);
        let workshop = Workshop::new(&config, folder.path()).unwrap();
        let Err(findings) = workshop.look(&spec(&file("infra/examples/digits-v1.onnx")), None).await else { panic!() };
        assert!(
            findings[0].message.contains("larger than 100 bytes") && findings[0].message.contains("fetch.max_model")
        );
    }

    #[test]
    fn what_was_left_behind_long_ago_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["incoming-old", "incoming-new", "kept"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let old = fs::File::open(folder.path().join("incoming-old")).unwrap();
        old.set_modified(std::time::SystemTime::now() - 2 * LEFT_BEHIND).unwrap();
        sweep(folder.path());
        assert!(!folder.path().join("incoming-old").exists());
        assert!(folder.path().join("incoming-new").exists() && folder.path().join("kept").exists());
    }
}
