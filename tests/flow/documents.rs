//! The documents that flows hand in: small proofs and short rollouts, so that a flow takes seconds.

use serde_json::{Value, json};
use slipway_testkit::{DataFolder, Ran, workspace};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A file of `infra/examples`.
pub(crate) fn example(name: &str) -> PathBuf {
    workspace().join("infra/examples").join(name)
}

/// `file://…` of an example.
pub(crate) fn example_uri(name: &str) -> String {
    format!("file://{}", example(name).display())
}

/// A document.
#[derive(Clone)]
pub(crate) struct Document(pub Value);

impl Document {
    /// A digits model under any name, quickly proved and released.
    pub(crate) fn digits(name: &str, model: &str) -> Self {
        Self(json!({
            "apiVersion": "slipway.dev/v1",
            "kind": "ModelDeployment",
            "metadata": { "name": name },
            "spec": {
                "model": { "uri": example_uri(&format!("{model}.onnx")) },
                "slo": { "availability": 90.0 },
                "validation": {
                    "golden": example_uri(&format!("{model}.golden.jsonl")),
                    "load": { "rate": "20/s", "duration": "500ms", "repeats": 1 },
                    "faults": [],
                },
                "rollout": { "steps": [100], "hold": "0s", "watch": "5s" },
            },
        }))
    }

    /// The same with another value at a path like `spec.slo.throughput`.
    pub(crate) fn with(mut self, path: &str, value: Value) -> Self {
        let mut at = &mut self.0;
        for part in path.split('.') {
            at = &mut at[part];
        }
        *at = value;
        self
    }

    /// Writes it into the folder, as a file of its own.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = folder.join(format!("document-{number}.json"));
        fs::write(&file, serde_json::to_string_pretty(&self.0).unwrap()).unwrap();
        file
    }

    /// `slipway deploy -f`, to the end.
    pub(crate) async fn deploy(&self, folder: &DataFolder) -> Ran {
        let file = self.write(folder.path());
        folder.cli(["deploy", "-f", file.to_str().unwrap(), "--timeout", "4m"]).await
    }

    /// `slipway deploy -f --no-wait`.
    pub(crate) async fn hand_in(&self, folder: &DataFolder) -> Ran {
        let file = self.write(folder.path());
        folder.cli(["deploy", "-f", file.to_str().unwrap(), "--no-wait"]).await
    }
}

/// A request with one digit, and the label it must get.
#[derive(Clone)]
pub(crate) struct Digit {
    pub(crate) body: Value,
    pub(crate) label: i64,
}

/// Held-out digits that every good model of the examples gets right.
pub(crate) fn digits() -> Vec<Digit> {
    let read = |name: &str| {
        let text = fs::read_to_string(example(name)).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let best = |row: &Value| {
        let shares = row["expected"]["probabilities"].as_array().unwrap();
        let shares: Vec<f64> = shares.iter().map(|share| share.as_f64().unwrap()).collect();
        i64::try_from((0..shares.len()).max_by(|a, b| shares[*a].total_cmp(&shares[*b])).unwrap()).unwrap()
    };
    let (one, two) = (read("digits-v1.golden.jsonl"), read("digits-v2.golden.jsonl"));
    let both = one.iter().zip(&two).filter(|(one, two)| {
        let label = one["expected"]["label"].as_i64().unwrap();
        assert_eq!(one["inputs"], two["inputs"], "the golden files have the same rows");
        best(one) == label && best(two) == label
    });
    let digits: Vec<Digit> = both
        .map(|(row, _)| {
            let data = &row["inputs"]["X"];
            let input = json!({ "name": "X", "datatype": "FP32", "shape": [1, 64], "data": data });
            Digit { body: json!({ "inputs": [input] }), label: row["expected"]["label"].as_i64().unwrap() }
        })
        .collect();
    assert!(digits.len() > 400, "{}", digits.len());
    digits
}

/// The label in an answer.
pub(crate) fn label(answer: &Value) -> Option<i64> {
    let outputs = answer["outputs"].as_array()?;
    outputs.iter().find(|output| output["name"] == "label")?["data"][0].as_i64()
}

#[test]
fn every_example_is_read_as_it_says() {
    let mut read = 0;
    for entry in fs::read_dir(example("")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        read += 1;
        let document = slipway::document::read(&file);
        if file.ends_with("refused.yaml") {
            let refused = document.unwrap_err().to_string();
            let paths = [
                "spec.model.uri",
                "spec.serving.batching.maxSize",
                "spec.scale.max",
                "spec.slo.availability",
                "spec.rollout.steps",
            ];
            for path in paths {
                assert!(refused.contains(path), "{path} is not named: {refused}");
            }
            continue;
        }
        let document = document.unwrap_or_else(|refused| panic!("{}: {refused}", file.display()));
        for uri in [&document.spec.model.uri, document.spec.validation.golden.as_ref().unwrap()] {
            let path = Path::new(uri.strip_prefix("file://").unwrap());
            assert!(path.is_file(), "{uri}");
        }
        let found =
            slipway_kernel::Digest::of(&fs::read(document.spec.model.uri.strip_prefix("file://").unwrap()).unwrap());
        assert_eq!(document.spec.model.sha256, Some(found), "{}", file.display());
    }
    assert_eq!(read, 7);
}
