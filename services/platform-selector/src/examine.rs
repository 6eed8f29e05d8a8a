//! Reading a fetched file: the model through a small window, golden rows line by line. Blocking.

use crate::domain::{
    artifact::{self, Invalid, Model, content::Content},
    golden::{self, BadRow},
};
use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

/// Bytes read at once. Structures of models lie close together, their weights are stepped over.
const WINDOW: usize = 64 << 10;
/// The longest golden row, in bytes: an image of a million numbers.
const LONGEST_ROW: u64 = 16 << 20;

/// Why a file could not be read for what it is.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// It is nothing that can be served.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Its golden rows do not fit the model.
    #[error("line {line}: {reason}")]
    BadRow {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        reason: BadRow,
    },
    /// A golden row is too long.
    #[error("line {line} is longer than {LONGEST_ROW} bytes")]
    LongRow {
        /// The line, from 1.
        line: u64,
    },
    /// There are more golden rows than are taken.
    #[error("there are more than {limit} rows; use fewer, or raise fetch.max_golden_rows")]
    TooManyRows {
        /// The limit.
        limit: u64,
    },
    /// There is no golden row.
    #[error("there is no row")]
    NoRows,
    /// Our own copy cannot be read.
    #[error("our copy cannot be read")]
    Io(#[source] io::Error),
}

impl ExamineError {
    /// Whether it is this machine that failed, and not the file.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Io(_))
    }
}

/// Reads the model at `path`.
///
/// # Errors
/// [`ExamineError`].
pub fn model(path: &Path) -> Result<Model, ExamineError> {
    let content = FileContent::open(path).map_err(ExamineError::Io)?;
    let read = artifact::read(&content);
    // A disk that failed makes any file look broken; then it is not the file's fault.
    match content.failure.take() {
        Some(error) => Err(ExamineError::Io(error)),
        None => Ok(read?),
    }
}

/// Checks every golden row at `path` against the model; returns how many there are.
///
/// # Errors
/// [`ExamineError`].
pub fn golden(path: &Path, model: &Model, max_rows: u64) -> Result<u64, ExamineError> {
    let mut reader = BufReader::with_capacity(WINDOW, File::open(path).map_err(ExamineError::Io)?);
    let (mut line, mut rows, mut row) = (0, 0, Vec::new());
    loop {
        row.clear();
        let read = reader.by_ref().take(LONGEST_ROW + 1).read_until(b'\n', &mut row).map_err(ExamineError::Io)?;
        if read == 0 {
            return if rows == 0 { Err(ExamineError::NoRows) } else { Ok(rows) };
        }
        line += 1;
        if read as u64 > LONGEST_ROW {
            return Err(ExamineError::LongRow { line });
        }
        if row.trim_ascii().is_empty() {
            continue;
        }
        rows += 1;
        if rows > max_rows {
            return Err(ExamineError::TooManyRows { limit: max_rows });
        }
        golden::check(&row, &model.inputs, &model.outputs).map_err(|reason| ExamineError::BadRow { line, reason })?;
    }
}

/// A file, read through a window.
struct FileContent {
    file: File,
    size: u64,
    window: RefCell<Window>,
    failure: Cell<Option<io::Error>>,
}

struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl FileContent {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let window = RefCell::new(Window { start: 0, bytes: Vec::new() });
        Ok(Self { file, size, window, failure: Cell::new(None) })
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.len() >= WINDOW {
            return self.file.read_exact_at(buffer, offset);
        }
        let mut window = self.window.borrow_mut();
        let held = window.start..window.start + window.bytes.len() as u64;
        if !held.contains(&offset) || offset + buffer.len() as u64 > held.end {
            let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(WINDOW);
            window.start = offset;
            window.bytes.resize(left.min(WINDOW), 0);
            let outcome = self.file.read_exact_at(&mut window.bytes, offset);
            if let Err(error) = outcome {
                window.bytes.clear();
                return Err(error);
            }
        }
        let from = usize::try_from(offset - window.start).map_err(io::Error::other)?;
        let slice = window.bytes.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(slice);
        Ok(())
    }
}

impl Content for FileContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), String> {
        self.fill(offset, buffer).map_err(|error| {
            let reason = error.to_string();
            self.failure.set(Some(error));
            reason
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::artifact::Pattern;
    use slipway_kernel::ModelFormat;
    use std::path::PathBuf;

    fn examples(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/examples").join(name)
    }

    fn data(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name)
    }

    #[test]
    fn the_example_models_are_read_with_what_is_known_of_them() {
        for (name, inputs, classes) in [
            ("digits-v1", 64, 10),
            ("digits-v2", 64, 10),
            ("digits-v3", 64, 10),
            ("digits-wide", 64, 10),
            ("breast-cancer", 30, 2),
        ] {
            let model = model(&examples(&format!("{name}.onnx"))).unwrap();
            assert_eq!(model.inputs.len(), 1, "{name}");
            assert_eq!((model.inputs[0].name.as_str(), model.inputs[0].datatype.as_str()), ("X", "FP32"), "{name}");
            assert_eq!(model.inputs[0].shape, [-1, inputs], "{name}");
            let outputs: Vec<_> = model.outputs.iter().map(|o| (o.name.as_str(), o.datatype.as_str())).collect();
            assert_eq!(outputs, [("label", "INT64"), ("probabilities", "FP32")], "{name}");
            assert_eq!(model.outputs[1].shape, [-1, classes], "{name}");
            assert!(model.cautions.untyped.is_empty() && model.cautions.patterns.is_empty(), "{name}");
            assert!(model.opset >= 9 && model.parameters > 0, "{name}: {model:?}");
            let rows = golden(&examples(&format!("{name}.golden.jsonl")), &model, 1_000).unwrap();
            assert!(rows > 100, "{name}");
            assert!(matches!(
                golden(&examples(&format!("{name}.golden.jsonl")), &model, rows - 1),
                Err(ExamineError::TooManyRows { .. })
            ));
        }
    }

    #[test]
    fn what_is_read_agrees_with_the_decoder_of_the_engine() {
        use prost::Message as _;
        for name in ["digits-v1", "digits-v2", "digits-wide", "breast-cancer"] {
            let path = examples(&format!("{name}.onnx"));
            let model = model(&path).unwrap();
            let decoded = tract_onnx::pb::ModelProto::decode(&std::fs::read(&path).unwrap()[..]).unwrap();
            let graph = decoded.graph.unwrap();
            let counted: u32 = model.operators.iter().map(|operator| operator.count).sum();
            assert_eq!(counted as usize, graph.node.len(), "{name}");
            let parameters: i64 = graph.initializer.iter().map(|tensor| tensor.dims.iter().product::<i64>()).sum();
            let inner: i64 = graph
                .node
                .iter()
                .flat_map(|node| &node.attribute)
                .filter_map(|attribute| attribute.t.as_ref())
                .map(|tensor| tensor.dims.iter().product::<i64>())
                .sum();
            assert_eq!(model.parameters, u64::try_from(parameters + inner).unwrap(), "{name}");
            assert!(model.producer.starts_with(&decoded.producer_name), "{name}");
        }
    }

    #[test]
    fn the_spoiled_files_are_refused_each_for_its_own_reason() {
        for (name, word) in [
            ("empty.onnx", "the file is empty"),
            ("truncated.onnx", "cut short"),
            ("not-a-model.onnx", "no model of a known format"),
            ("pickle.onnx", "pickle (protocol 4)"),
            ("external-weights.onnx", "lies in another file"),
            ("state-dict.pt", "state dict"),
        ] {
            let path = data(name);
            assert!(path.exists(), "{name} is missing: infra/examples/make_models.py bad-files");
            let error = model(&path).unwrap_err();
            assert!(!error.is_ours() && error.to_string().contains(word), "{name}: {error}");
        }
    }

    #[test]
    fn the_foreign_formats_are_told_from_their_content() {
        for (name, format) in [
            ("tiny.safetensors", ModelFormat::Safetensors),
            ("torchscript.pt", ModelFormat::Torchscript),
            ("saved_model.pb", ModelFormat::SavedModel),
            ("tiny.gguf", ModelFormat::Gguf),
            ("tensorrt.plan", ModelFormat::TensorrtPlan),
            ("unknown-operator.onnx", ModelFormat::Onnx),
            ("nan-outputs.onnx", ModelFormat::Onnx),
        ] {
            assert_eq!(model(&data(name)).unwrap().format, format, "{name}");
        }
    }

    #[test]
    fn patterns_are_seen_by_the_file_too() {
        assert!(!model(&data("nan-outputs.onnx")).unwrap().cautions.patterns.contains(&Pattern::QuantizedSoftmax));
    }

    #[test]
    fn golden_rows_that_do_not_fit_are_named_by_line() {
        let model = model(&examples("digits-v1.onnx")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("golden.jsonl");
        let good = std::fs::read_to_string(examples("digits-v1.golden.jsonl")).unwrap();
        let good = good.lines().next().unwrap();
        for (content, word) in [
            (String::new(), "there is no row"),
            ("\n\n".to_owned(), "there is no row"),
            (format!("{good}\n\n{{\"inputs\":{{}},\"expected\":{{}}}}\n"), "line 3: inputs are none"),
            (format!("{good}\nhello\n"), "line 2: column 1"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = golden(&path, &model, 10).unwrap_err();
            let said =
                format!("{error}: {}", std::error::Error::source(&error).map_or_else(String::new, ToString::to_string));
            assert!(said.contains(word), "{word}: {said}");
        }
        std::fs::write(&path, format!("{good}\n{good}")).unwrap();
        assert_eq!(golden(&path, &model, 10).unwrap(), 2, "the last line needs no end");
    }

    #[test]
    fn a_file_larger_than_the_window_reads_like_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("content");
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let content = FileContent::open(&path).unwrap();
        for (offset, length) in [(0, 20), (65_530, 20), (10, 20), (199_990, 10), (0, 200_000), (100_000, 70_000)] {
            let mut buffer = vec![0; length];
            content.read_at(offset, &mut buffer).unwrap();
            let start = usize::try_from(offset).unwrap();
            assert_eq!(buffer, &bytes[start..start + length]);
        }
        assert!(content.read_at(199_995, &mut [0; 10]).is_err());
        assert!(content.failure.take().is_some());
    }
}
