"""What a model must answer, by onnxruntime for Python, and how far an answer is from it."""

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

# Of a value, or of one where it is smaller: what comes out is probabilities, scores and vectors of length one. A float32 carries 24 bits,
# 6e-8; two engines add the thousand terms of a layer in another order, which costs two digits, and tens of layers cost another. A mistake is
# larger by far: the wrong answers that were found (a recurrent layer, a quantised softmax) are off by hundredths and tenths.
TOLERANCE = 1e-4


class Wrong(Exception):
    """An answer is not what it must be."""


@dataclass
class Distance:
    """The largest difference seen, of the value or of one."""

    tolerance: float = TOLERANCE
    largest: float = 0.0
    answers: int = 0

    def add(self, found, expected, what):
        """Numbers within the tolerance; labels and texts exactly."""
        if found is None:
            raise Wrong(f"{what}: there is no such output")
        if tuple(found.shape) != tuple(expected.shape):
            raise Wrong(f"{what}: the shape is {tuple(found.shape)}, not {tuple(expected.shape)}")
        self.answers += 1
        if expected.dtype.kind != "f":
            if not np.array_equal(as_text(found), as_text(expected)):
                raise Wrong(f"{what}: {found.ravel()[:4]}, not {expected.ravel()[:4]}")
            return
        found, expected = found.astype(np.float64), expected.astype(np.float64)
        apart = np.abs(found - expected)
        allowed = self.tolerance * np.maximum(1, np.abs(expected))
        if not np.all(apart <= allowed):
            worst = int(np.nanargmax(apart - allowed))
            raise Wrong(f"{what}: element {worst} is {found.ravel()[worst]}, not {expected.ravel()[worst]}")
        self.largest = max(self.largest, float(np.max(apart / allowed, initial=0.0)) * self.tolerance)


def as_text(array):
    """Texts come as bytes over the wire, and as str from onnxruntime."""
    if array.dtype.kind not in "OSU":
        return array
    return np.array([value if isinstance(value, bytes) else str(value).encode() for value in array.ravel()]).reshape(array.shape)


class Reference:
    """The model in onnxruntime, one thread."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        # Errors only: hints about a graph that others wrote are nothing that could be changed here.
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.inputs = [(put.name, put.type, put.shape) for put in self.session.get_inputs()]
        self.metadata = self.session.get_modelmeta().custom_metadata_map
        self.maps = zip_maps(path)

    def __call__(self, inputs):
        outputs = dict(zip(self.names, self.session.run(self.names, inputs)))
        for name, labels in self.maps.items():
            # What ZipMap makes is no tensor; Slipway answers the scores in the order of the operator's labels.
            outputs[name] = np.array([[row[label] for label in labels] for row in outputs[name]], np.float32)
        return outputs


def zip_maps(path):
    """The outputs that `ZipMap` makes, with their labels."""
    found = {}
    for node in onnx.load(str(path), load_external_data=False).graph.node:
        if node.op_type == "ZipMap":
            values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
            labels = values.get("classlabels_int64s") or [label.decode() for label in values["classlabels_strings"]]
            found[node.output[0]] = list(labels)
    return found


def operators(path):
    """Nodes, those of inner graphs too, and how many kinds."""
    kinds = []

    def walk(graph):
        for node in graph.node:
            kinds.append((node.domain, node.op_type))
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    walk(attribute.g)

    walk(onnx.load(str(path), load_external_data=False).graph)
    return len(kinds), len(set(kinds))
