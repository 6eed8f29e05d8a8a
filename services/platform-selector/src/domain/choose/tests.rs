use super::*;
use crate::domain::artifact::{Pattern, Untyped};
use proptest::prelude::*;
use slipway_kernel::{
    ByteSize, ModelFormat, OperatorCount, TensorSpec,
    spec::{Container, ModelDeployment},
};

fn spec() -> Spec {
    let document = serde_json::json!({ "metadata": { "name": "d" }, "spec": { "model": { "uri": "file:///m" } } });
    ModelDeployment::read(&document).unwrap().spec
}

fn machine() -> MachineFacts {
    MachineFacts { cores: 2, memory_bytes: 8 << 30, ..MachineFacts::default() }
}

fn engines() -> [Engine; 2] {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    let onnxruntime = Engine {
        name: "onnxruntime".into(),
        built_in: false,
        operators: words(&["Gemm", "Relu", "Softmax", "Unique"]),
        wrong: [].into(),
    };
    let tract = Engine {
        name: "tract".into(),
        built_in: true,
        operators: words(&["Gemm", "Relu", "Softmax", "ai.onnx.ml.TreeEnsembleClassifier", "ai.onnx.ml.ZipMap"]),
        wrong: [Pattern::QuantizedSoftmax].into(),
    };
    [onnxruntime, tract]
}

fn onnx(operators: &[&str]) -> Model {
    let operators = operators.iter().map(|name| OperatorCount { operator: (*name).into(), count: 2 }).collect();
    Model { operators, parameters: 100, memory_estimate_bytes: 1 << 20, ..Model::of_format(ModelFormat::Onnx) }
}

fn untyped(name: &str, why: &str) -> Untyped {
    Untyped { name: name.into(), why: why.into(), is_unsaid: false }
}

struct Asked {
    spec: Spec,
    machine: MachineFacts,
    model: Model,
    target: &'static str,
    images: Images,
}

impl Asked {
    fn new(model: Model) -> Self {
        Self { spec: spec(), machine: machine(), model, target: "local", images: Images::default() }
    }

    fn choice(&self) -> Choice {
        choose(&Question {
            spec: &self.spec,
            target: self.target,
            machine: &self.machine,
            model: &self.model,
            engines: &engines(),
            images: &self.images,
        })
    }

    /// On a machine that has ONNX Runtime's library.
    fn with_onnxruntime(mut self) -> Self {
        self.machine.engines = vec!["onnxruntime".into(), "tract".into()];
        self
    }

    /// On one that does not, and says why.
    fn without_onnxruntime(mut self) -> Self {
        self.machine.engines = vec!["tract".into()];
        self.machine.engine_note = "there is no library; `make tools` gets it".into();
        self
    }

    fn chosen(&self) -> Option<String> {
        self.choice().platform.map(|chosen| chosen.name)
    }

    fn refused(&self) -> String {
        let choice = self.choice();
        assert_eq!(choice.platform, None);
        let findings = findings(&choice, &self.spec);
        assert!(findings.iter().all(|finding| finding.kind == FindingKind::PlatformUnsuitable));
        findings.into_iter().map(|finding| finding.message).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn a_plain_model_is_served_by_slipway_and_every_other_platform_says_why_not() {
    let asked = Asked::new(onnx(&["Gemm", "Relu"]));
    let choice = asked.choice();
    assert_eq!(asked.chosen().unwrap(), "slipway");
    assert_eq!(choice.candidates.len(), 6);
    for other in &choice.candidates[1..] {
        assert!(other.vetoes.iter().any(|veto| ["target", "protocol"].contains(&veto.rule.as_str())), "{other:?}");
        assert!(other.score == 0.0 && !other.reasons.is_empty());
    }
}

#[test]
fn an_operator_that_is_missing_is_named_with_what_to_do() {
    let message = Asked::new(onnx(&["Gemm", "Unique", "ai.onnx.ml.Scaler", "example.oracle.Gemm"])).refused();
    for word in
        ["tract lacks the operators: Unique (2 ×), ai.onnx.ml.Scaler (2 ×), example.oracle.Gemm (2 ×)", "black_op"]
    {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn what_only_one_engine_can_run_is_served_where_that_engine_is() {
    let only_onnxruntime = || Asked::new(onnx(&["Gemm", "Unique"]));
    let choice = only_onnxruntime().with_onnxruntime().choice();
    assert_eq!(choice.platform.unwrap().name, "slipway");
    let reasons = &choice.candidates[0].reasons;
    for word in ["engine onnxruntime: has every operator", "engine tract: lacks the operators: Unique (2 ×)"] {
        assert!(reasons.iter().any(|reason| reason.contains(word)), "{word}: {reasons:?}");
    }
    let message = only_onnxruntime().without_onnxruntime().refused();
    for word in
        ["tract lacks the operators: Unique (2 ×)", "onnxruntime could, and is not on this target", "make tools"]
    {
        assert!(message.contains(word), "{message}");
    }
    // Facts of before engines were asked for say nothing of them: only what every worker has is counted on.
    assert!(only_onnxruntime().refused().contains("its library was not found"));
    let only_tract = Asked::new(onnx(&["ai.onnx.ml.TreeEnsembleClassifier", "ai.onnx.ml.ZipMap"])).with_onnxruntime();
    assert_eq!(only_tract.chosen().unwrap(), "slipway");
}

#[test]
fn what_no_engine_can_run_is_refused_with_what_each_lacks() {
    let message = Asked::new(onnx(&["Unique", "ai.onnx.ml.ZipMap"])).with_onnxruntime().refused();
    for word in [
        "onnxruntime lacks the operators: ai.onnx.ml.ZipMap (2 ×); what that makes is no tensor to it",
        "zipmap",
        "tract lacks the operators: Unique (2 ×)",
    ] {
        assert!(message.contains(word), "{message}");
    }
    // Who lacks it too is not named as a way out.
    let message = Asked::new(onnx(&["Unique", "ai.onnx.ml.ZipMap"])).without_onnxruntime().refused();
    assert!(!message.contains("could, and is not"), "{message}");
}

#[test]
fn a_long_list_of_missing_operators_is_cut() {
    let names: Vec<String> = (0..50).map(|n| format!("Op{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(Asked::new(onnx(&names)).refused().contains("and 38 more"));
}

#[test]
fn what_would_come_out_wrong_is_refused_before_it_runs() {
    let mut model = onnx(&["Softmax"]);
    model.cautions.patterns.insert(Pattern::QuantizedSoftmax);
    let message = Asked::new(model).refused();
    assert!(message.contains("quantised Softmax") && message.contains("without an error"), "{message}");
    let mut model = onnx(&["Softmax"]);
    model.cautions.patterns.insert(Pattern::QuantizedSoftmax);
    assert_eq!(
        Asked::new(model).with_onnxruntime().chosen().unwrap(),
        "slipway",
        "the other engine computes it rightly"
    );
}

#[test]
fn tensors_that_cannot_be_carried_are_named() {
    let mut model = onnx(&["Gemm"]);
    model.cautions.untyped.push(untyped("probabilities", "is a sequence, and only tensors are carried"));
    let message = Asked::new(model).refused();
    assert!(message.contains("`probabilities` is a sequence") && message.contains("zipmap"), "{message}");
}

#[test]
fn each_foreign_format_is_refused_here_with_its_own_advice() {
    for (format, word) in [
        (ModelFormat::SavedModel, "tf2onnx"),
        (ModelFormat::Torchscript, "torch.onnx.export"),
        (ModelFormat::Safetensors, "optimum"),
        (ModelFormat::Gguf, "optimum"),
        (ModelFormat::TensorrtPlan, "ONNX file it was built from"),
    ] {
        let message = Asked::new(Model::of_format(format)).refused();
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn memory_excludes_only_where_it_must_not_or_cannot_be_raised() {
    let mut asked = Asked::new(Model { memory_estimate_bytes: 552 << 20, ..onnx(&["Gemm"]) });
    let choice = asked.choice();
    assert!(
        choice.candidates[0]
            .reasons
            .last()
            .unwrap()
            .contains("expected to need 600Mi, more than spec.resources.memory (512Mi)")
    );
    assert_eq!(asked.chosen().unwrap(), "slipway");
    asked.spec.fixed.push("resources.memory".into());
    assert!(asked.refused().contains("expected to need 600Mi, spec.resources.memory is fixed at 512Mi"));
    asked.spec.fixed.clear();
    asked.machine.memory_bytes = 512 << 20;
    assert!(asked.refused().contains("the target has 512Mi"));
    asked.machine.memory_bytes = 0;
    assert_eq!(asked.chosen().unwrap(), "slipway", "what is not known bounds nothing");
    asked.machine.memory_bytes = 512 << 20;
    asked.spec.resources.memory = ByteSize(1 << 30);
    assert_eq!(asked.chosen().unwrap(), "slipway", "what the spec gives is the provisioner's to judge");
}

#[test]
fn a_required_gpu_is_not_served_by_a_worker_that_has_none() {
    let mut asked = Asked::new(onnx(&["Gemm"]));
    asked.spec.infrastructure.gpu = slipway_kernel::spec::Gpu::Required;
    asked.machine.gpu_note = "no NVIDIA driver".to_owned();
    let refused = asked.refused();
    assert!(refused.contains("no engine of this target computes on one (no NVIDIA driver)"), "{refused}");
    asked.machine.engines = ["onnxruntime-cuda", "tract-cuda", "tract"].map(str::to_owned).to_vec();
    assert_eq!(asked.chosen().unwrap(), "slipway");
}

#[test]
fn an_explicit_platform_is_taken_or_its_own_reasons_are_given() {
    let mut asked = Asked::new(onnx(&["Gemm"]));
    asked.spec.serving.platform = Platform::Slipway;
    assert_eq!(asked.chosen().unwrap(), "slipway");
    asked.spec.serving.platform = Platform::Triton;
    let message = asked.refused();
    assert!(
        message.starts_with("triton cannot serve this model here (target)") && message.contains("kubernetes"),
        "{message}"
    );
}

#[test]
fn in_a_cluster_triton_serves_what_slipways_engines_lack_where_its_image_is_named() {
    let mut asked = Asked::new(onnx(&["Unique"]));
    asked.target = "kubernetes";
    asked.spec.serving.platform = Platform::Triton;
    let message = asked.refused();
    assert!(message.contains("(image)") && message.contains("platforms.triton.image"), "{message}");
    asked.images.triton = Some("registry.example/triton:26.10".into());
    let chosen = asked.choice().platform.unwrap();
    assert_eq!((chosen.name.as_str(), chosen.image.as_str()), ("triton", "registry.example/triton:26.10"));
    asked.spec.serving.platform = Platform::Auto;
    assert_eq!(asked.chosen().unwrap(), "triton", "it knows operators that Slipway's engine lacks");
    asked.model = onnx(&["Gemm"]);
    let own = asked.choice().platform.unwrap();
    assert_eq!((own.name.as_str(), own.image.as_str()), ("slipway", ""), "no server without need");
}

#[test]
fn in_a_cluster_what_is_not_read_is_not_served_and_each_platform_says_why() {
    for (format, platform, rule) in [
        (ModelFormat::Torchscript, Platform::Triton, "tensors"),
        (ModelFormat::Other, Platform::Triton, "format"),
        (ModelFormat::Onnx, Platform::Container, "image"),
        (ModelFormat::TensorrtPlan, Platform::Triton, "gpu"),
        (ModelFormat::Gguf, Platform::Triton, "format"),
        (ModelFormat::SavedModel, Platform::TensorflowServing, "image"),
        (ModelFormat::Onnx, Platform::TensorflowServing, "format"),
        (ModelFormat::Torchscript, Platform::Torchserve, "protocol"),
        (ModelFormat::Safetensors, Platform::Vllm, "artifact"),
        (ModelFormat::Gguf, Platform::Vllm, "artifact"),
    ] {
        let mut model = Model::of_format(format);
        if format == ModelFormat::Torchscript {
            model.cautions.untyped.push(untyped("x", "is a tensor"));
        }
        let mut asked = Asked::new(model);
        (asked.target, asked.images.triton) = ("kubernetes", Some("triton:1".into()));
        asked.spec.serving.platform = platform;
        let message = asked.refused();
        assert!(message.contains(&format!("cannot serve this model here ({rule})")), "{message}");
    }
}

#[test]
fn in_a_cluster_triton_serves_a_saved_model_whose_tensors_it_can_carry() {
    let mut asked = Asked::new(Model::of_format(ModelFormat::SavedModel));
    (asked.target, asked.images.triton) = ("kubernetes", Some("triton:1".into()));
    assert_eq!(asked.chosen().unwrap(), "triton");
    asked.model.cautions.untyped.push(untyped("x", "is a sparse tensor, and only dense ones are carried"));
    asked.spec.serving.platform = Platform::Triton;
    let message = asked.refused();
    assert!(message.contains("(tensors)") && message.contains("tf.TensorSpec"), "{message}");
}

#[test]
fn in_a_cluster_triton_serves_what_its_document_says_the_signature_of() {
    let tensor = |name: &str| TensorSpec { name: name.into(), datatype: "FP32".into(), shape: vec![-1, 4] };
    for (format, good, bad) in [(ModelFormat::Torchscript, "y__0", "y"), (ModelFormat::TensorrtPlan, "y", "")] {
        let mut asked = Asked::new(Model::of_format(format));
        (asked.target, asked.images.triton) = ("kubernetes", Some("triton:1".into()));
        asked.machine.gpus.push(slipway_kernel::GpuFacts::default());
        asked.spec.serving.platform = Platform::Triton;
        assert!(asked.refused().contains("spec.model.signature"));
        asked.model.inputs = vec![tensor("x")];
        asked.model.outputs = vec![tensor(good)];
        assert_eq!(asked.chosen().unwrap(), "triton");
        if !bad.is_empty() {
            asked.model.outputs = vec![tensor(bad)];
            assert!(asked.refused().contains("NAME__0"));
        }
    }
}

#[test]
fn a_container_of_ones_own_serves_what_it_is_asked_for_and_its_image_is_that_of_the_spec() {
    let image = format!("registry.example/own@sha256:{}", "a".repeat(64));
    let mut asked = Asked::new(Model::of_format(ModelFormat::Other));
    asked.target = "kubernetes";
    asked.spec.serving.platform = Platform::Container;
    asked.spec.serving.container = Some(Container { image: image.clone() });
    assert!(asked.refused().contains("spec.model.signature"));
    asked.model.outputs = vec![TensorSpec { name: "y".into(), datatype: "FP32".into(), shape: vec![-1] }];
    let chosen = asked.choice().platform.unwrap();
    assert_eq!((chosen.name.as_str(), chosen.image), ("container", image));
    asked.target = "local";
    assert!(asked.refused().contains("(target)"));
}

#[test]
fn in_a_cluster_tensorflow_serving_serves_a_saved_model_where_its_image_is_named() {
    let mut asked = Asked::new(Model::of_format(ModelFormat::SavedModel));
    asked.target = "kubernetes";
    asked.images.tensorflow_serving = Some("serving:1".into());
    let chosen = asked.choice().platform.unwrap();
    assert_eq!((chosen.name.as_str(), chosen.image.as_str()), ("tensorflow-serving", "serving:1"));
    asked.images.triton = Some("triton:1".into());
    assert_eq!(asked.chosen().unwrap(), "tensorflow-serving", "it runs nothing else, and that best");
}

fn any_model() -> impl Strategy<Value = Model> {
    let formats = vec![
        ModelFormat::Onnx,
        ModelFormat::Onnx,
        ModelFormat::SavedModel,
        ModelFormat::Torchscript,
        ModelFormat::Safetensors,
        ModelFormat::Gguf,
        ModelFormat::TensorrtPlan,
    ];
    (
        proptest::sample::select(formats),
        proptest::sample::subsequence(vec!["Gemm", "Relu", "Unique", "ai.onnx.ml.Scaler"], 0..4),
        any::<bool>(),
        0_u64..(16 << 30),
    )
        .prop_map(|(format, operators, wrong, memory)| {
            let mut model = Model { format, memory_estimate_bytes: memory, ..onnx(&operators) };
            if wrong {
                model.cautions.patterns.insert(Pattern::QuantizedSoftmax);
            }
            model
        })
}

proptest! {
    #[test]
    fn what_cannot_serve_is_never_chosen_and_what_can_always_is(
        model in any_model(),
        local in any::<bool>(),
        named in any::<bool>(),
        platform in proptest::sample::select(vec![Platform::Auto, Platform::Slipway, Platform::Triton, Platform::Vllm]),
    ) {
        let mut asked = Asked::new(model);
        asked.target = if local { "local" } else { "kubernetes" };
        asked.images.triton = named.then(|| "triton:1".to_owned());
        asked.spec.serving.platform = platform;
        let choice = asked.choice();
        let able: Vec<_> = choice.candidates.iter().filter(|candidate| candidate.vetoes.is_empty()).collect();
        prop_assert_eq!(choice.platform.is_some(), !able.is_empty());
        if let Some(chosen) = &choice.platform {
            prop_assert_eq!(&chosen.name, &able[0].platform);
            prop_assert!(able.iter().all(|candidate| candidate.score <= able[0].score));
            prop_assert!(chosen.name == "slipway" || (!local && named));
            prop_assert_eq!(chosen.image.is_empty(), chosen.name == "slipway");
        } else {
            prop_assert!(!findings(&choice, &asked.spec).is_empty());
        }
        prop_assert_eq!(&choice, &asked.choice());
    }
}
