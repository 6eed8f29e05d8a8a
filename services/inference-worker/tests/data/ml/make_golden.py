"""Makes the models of this folder and what onnxruntime answers to them.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python make_golden.py

Two kinds: models trained with scikit-learn and exported by skl2onnx with nothing but its defaults, asked held-out rows; and
graphs written by hand, which use what such exports do not.

NAME.json has the rows that NAME.onnx was asked, all at once, and the answers: {"inputs": {"X": {"type": "FP32", "shape":
[40, 4], "data": [...]}}, "outputs": {...}}. NaN and infinities are texts. A ZipMap's sequence of maps stands there as the tensor of its scores.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer, MinMaxScaler, Normalizer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

HERE = Path(__file__).resolve().parent
# Enough rows for every class and both sides of most branches.
MOST_ROWS = 40
MOST_BYTES = 200_000
TYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "int16": "INT16"}
ML = "ai.onnx.ml"


def described(value: np.ndarray) -> dict:
    if value.dtype.kind in "OU":
        return {"type": "BYTES", "shape": list(value.shape), "data": [str(one) for one in value.ravel()]}
    return {"type": TYPES[str(value.dtype)], "shape": list(value.shape), "data": [number(one) for one in value.ravel()]}


def number(one: np.number) -> int | float | str:
    if one.dtype.kind != "f":
        return int(one)
    # The shortest text that gives the same number of this precision back. JSON knows no others.
    return float(str(one)) if np.isfinite(one) else str(one)


def answers(model: onnx.ModelProto, inputs: dict) -> dict:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs)))
    for node in model.graph.node:
        if node.op_type == "ZipMap":
            labels = [a for a in node.attribute if a.name.startswith("classlabels")][0]
            labels = labels.ints or [label.decode() for label in labels.strings]
            name = node.output[0]
            given[name] = np.array([[row[label] for label in labels] for row in given[name]], dtype=np.float32)
    return given


def write(name: str, model: onnx.ModelProto, inputs: dict) -> None:
    content = model.SerializeToString(deterministic=True)
    assert len(content) < MOST_BYTES, f"{name}: {len(content)} bytes"
    golden = {
        "inputs": {key: described(value) for key, value in inputs.items()},
        "outputs": {key: described(value) for key, value in answers(model, inputs).items()},
    }
    (HERE / f"{name}.onnx").write_bytes(content)
    (HERE / f"{name}.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    operators = sorted({(node.domain and "ml.") + node.op_type for node in model.graph.node})
    print(f"{name:28} {len(content):7} bytes  {' '.join(operators)}")


def plain(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    # skl2onnx leaves these in the order of a set, sometimes twice, and names the graph by a random number.
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*opset) for opset in sorted(opsets.items()))
    model.graph.name = name
    return model


DATA = {"iris": load_iris(), "digits": load_digits(), "cancer": load_breast_cancer(), "diabetes": load_diabetes()}


def trained(name, data, estimator, target=lambda data: data.target, dtype=np.float32, holes=False, **options) -> None:
    data = DATA[data]
    x, y = data.data.astype(dtype), target(data)
    if holes:
        x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    x_train, x_held_out, y_train, _ = train_test_split(x, y, test_size=0.3, random_state=42)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(x_train, y_train)
        model = to_onnx(estimator, x_train[:1], name=name, **options)
    write(name, plain(model, name), {"X": x_held_out[:MOST_ROWS]})


def species(data):
    return data.target_names[data.target]


def train_all() -> None:
    forest = lambda trees=10, **more: RandomForestClassifier(trees, random_state=0, **more)
    logistic = lambda: LogisticRegression(max_iter=2000)
    trained("iris-forest", "iris", forest())
    trained("iris-forest-texts", "iris", forest(), species)
    trained("iris-forest-double", "iris", forest(), dtype=np.float64)
    trained("digits-forest", "digits", forest(max_depth=7))
    trained("cancer-forest", "cancer", forest())
    trained("cancer-forest-texts", "cancer", forest(5), species)
    # Labels that are neither 0 and 1 nor positions.
    trained("cancer-forest-labels", "cancer", forest(5), lambda data: np.array([7, 3])[data.target])
    trained("cancer-boosting", "cancer", GradientBoostingClassifier(n_estimators=20, random_state=0))
    trained("cancer-boosting-texts", "cancer", GradientBoostingClassifier(n_estimators=5, random_state=0), species)
    trained("iris-boosting", "iris", GradientBoostingClassifier(n_estimators=10, random_state=0))
    trained("cancer-tree", "cancer", DecisionTreeClassifier(max_depth=5, random_state=0))
    trained("iris-tree", "iris", DecisionTreeClassifier(random_state=0))
    trained("iris-extra-trees", "iris", ExtraTreesClassifier(5, random_state=0))
    trained("iris-ada-boost", "iris", AdaBoostClassifier(n_estimators=5, random_state=0))
    trained("iris-bagging", "iris", BaggingClassifier(n_estimators=5, random_state=0))
    trained("iris-isolation", "iris", IsolationForest(n_estimators=5, random_state=0), target_opset={"": 17, ML: 3})
    trained("diabetes-tree", "diabetes", DecisionTreeRegressor(max_depth=5, random_state=0))
    trained("diabetes-forest", "diabetes", RandomForestRegressor(10, max_depth=5, random_state=0))
    two = lambda data: np.c_[data.target, -2 * data.target]
    trained("diabetes-forest-two", "diabetes", RandomForestRegressor(5, max_depth=4, random_state=0), two)
    trained("diabetes-boosting", "diabetes", GradientBoostingRegressor(n_estimators=20, random_state=0))
    trained("iris-logistic", "iris", make_pipeline(StandardScaler(), logistic()))
    trained("iris-logistic-texts", "iris", make_pipeline(StandardScaler(), logistic()), species)
    trained("cancer-logistic", "cancer", make_pipeline(StandardScaler(), logistic()))
    trained("iris-ridge", "iris", make_pipeline(StandardScaler(), RidgeClassifier()))
    trained("iris-svc-linear", "iris", LinearSVC())
    trained("iris-sgd", "iris", SGDClassifier(loss="log_loss", random_state=0))
    trained("iris-lda", "iris", LinearDiscriminantAnalysis())
    trained("iris-bayes", "iris", GaussianNB())
    trained("iris-calibrated", "iris", CalibratedClassifierCV(GaussianNB()))
    trained("iris-mlp", "iris", make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=300, random_state=0)))
    trained("iris-mlp-texts", "iris", make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=300, random_state=0)), species)
    trained("cancer-mlp", "cancer", make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=300, random_state=0)))
    regressor = MLPRegressor(hidden_layer_sizes=(16,), max_iter=300, random_state=0)
    trained("diabetes-mlp", "diabetes", make_pipeline(StandardScaler(), regressor))
    trained("diabetes-linear", "diabetes", make_pipeline(StandardScaler(), LinearRegression()))
    trained("diabetes-linear-two", "diabetes", make_pipeline(StandardScaler(), LinearRegression()), two)
    trained("diabetes-ridge", "diabetes", make_pipeline(MinMaxScaler(), Ridge()))
    trained("cancer-imputer-forest", "cancer", make_pipeline(SimpleImputer(), forest(5)), holes=True)
    median = SimpleImputer(strategy="median")
    trained("cancer-imputer-logistic", "cancer", make_pipeline(median, StandardScaler(), logistic()), holes=True)
    for norm in ("l1", "l2", "max"):
        trained(f"iris-normalizer-{norm}", "iris", make_pipeline(Normalizer(norm), logistic()))
    trained("digits-binarizer", "digits", make_pipeline(Binarizer(threshold=8), BernoulliNB()))
    trained("iris-best-features", "iris", make_pipeline(SelectKBest(k=2), logistic()))
    both = [("line", logistic()), ("tree", DecisionTreeClassifier(random_state=0))]
    trained("iris-voting", "iris", VotingClassifier(both, voting="soft", flatten_transform=False))
    trained("iris-stacking", "iris", StackingClassifier(both))

    rng = np.random.default_rng(0)
    colour, size, weight = rng.choice(["red", "green", "blue"], 200), rng.integers(1, 4, 200), rng.normal(size=200)
    frame = pandas.DataFrame({"colour": colour, "size": size, "weight": weight.astype(np.float32)})
    y = ((colour == "red") * 1 + (size > 2) + (weight > 0) > 1).astype(int)
    types = [
        ("colour", StringTensorType([None, 1])),
        ("size", Int64TensorType([None, 1])),
        ("weight", FloatTensorType([None, 1])),
    ]
    for name, encoder, estimator in [
        ("columns-one-hot", OneHotEncoder(handle_unknown="ignore"), forest(5)),
        ("columns-one-hot-logistic", OneHotEncoder(handle_unknown="ignore"), logistic()),
        ("columns-ordinal", OrdinalEncoder(), forest(5, max_depth=4)),
    ]:
        columns = make_column_transformer((encoder, ["colour", "size"]), (StandardScaler(), ["weight"]))
        model = to_onnx(make_pipeline(columns, estimator).fit(frame, y), initial_types=types, name=name)
        rows = frame[:MOST_ROWS]
        asked = {"colour": rows[["colour"]].to_numpy(dtype=object, copy=True), "size": rows[["size"]].to_numpy(), "weight": rows[["weight"]].to_numpy()}
        if encoder.__class__ is OneHotEncoder:
            asked["colour"][:2] = "beige"
        write(name, plain(model, name), asked)


class Graph:
    """A graph of which every node has outputs of its own."""

    def __init__(self, **inputs):
        self.inputs = {key: np.asarray(value) for key, value in inputs.items()}
        self.nodes, self.outputs = [], []

    def add(self, operator, inputs, outputs, **attributes):
        names = [f"{operator}-{len(self.nodes)}-{number}" for number in range(len(outputs))]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(operator, inputs, names, domain=ML, **attributes))
        self.outputs += [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, outputs)]

    def write(self, name, version, opset=17):
        inputs = []
        for key, value in self.inputs.items():
            kind = TensorProto.STRING if value.dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(value.dtype)
            inputs.append(helper.make_tensor_value_info(key, kind, [None, *value.shape[1:]]))
        graph = helper.make_graph(self.nodes, name, inputs, self.outputs)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid(ML, version)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        given = answers(model, self.inputs)
        # The shapes that come out, with the rows free.
        for output in model.graph.output:
            shape = given[output.name].shape
            kind = output.type.tensor_type.elem_type
            output.CopyFrom(helper.make_tensor_value_info(output.name, kind, [None, *shape[1:]]))
        write(name, model, self.inputs)


BRANCHES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
TRANSFORMS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
FEATURES = 3


def random_trees(rng, family, slots, trees=4, depth=4, branches=BRANCHES, missing=False, sparse=False, weight=None) -> dict:
    """Attributes of an ensemble. Thresholds are whole, so that rows of whole numbers meet them exactly."""
    weight = weight or (lambda: round(float(rng.normal()), 3))
    nodes = {key: [] for key in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    tracks, leaves = [], {key: [] for key in ("treeids", "nodeids", "ids", "weights")}

    def grow(tree, level):
        number = sum(1 for one in nodes["treeids"] if one == tree)
        leaf = level == depth or (level > 0 and rng.random() < 0.2)
        for key, value in zip(nodes, (tree, number, 0, "LEAF", 0.0, 0, 0)):
            nodes[key].append(value)
        tracks.append(0)
        at = len(nodes["modes"]) - 1
        if leaf:
            given = [slot for slot in range(slots) if not sparse or rng.random() < 0.6] or [int(rng.integers(slots))]
            for slot in given if slots > 1 else [0]:
                for key, value in zip(leaves, (tree, number, slot, weight())):
                    leaves[key].append(value)
            return number
        nodes["featureids"][at] = int(rng.integers(FEATURES))
        nodes["modes"][at] = str(rng.choice(branches))
        nodes["values"][at] = float(rng.integers(-2, 3))
        tracks[at] = int(missing and rng.random() < 0.5)
        nodes["truenodeids"][at] = grow(tree, level + 1)
        nodes["falsenodeids"][at] = grow(tree, level + 1)
        return number

    for tree in range(trees):
        grow(tree, 0)
    given = {f"nodes_{key}": value for key, value in nodes.items()}
    if missing:
        given["nodes_missing_value_tracks_true"] = tracks
    return given | {f"{family}_{key}": value for key, value in leaves.items()}


def rows(rng, count=30, holes=True) -> np.ndarray:
    x = rng.integers(-3, 4, (count, FEATURES)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] += 0.5
    if holes:
        x[rng.random(x.shape) < 0.1] = np.nan
    return x


def classifiers() -> None:
    scores = (TensorProto.INT64, TensorProto.FLOAT)
    rng = np.random.default_rng(3)
    share = lambda: round(float(rng.random()) / 5, 3)
    shapes = {
        "one-score-shares": dict(slots=1, weight=share),
        "one-score-odds": dict(slots=1),
        "two-scores": dict(slots=2),
        "two-scores-sparse": dict(slots=2, sparse=True),
        "three-scores": dict(slots=3, missing=True),
        "three-scores-sparse": dict(slots=3, sparse=True),
    }
    for name, shape in shapes.items():
        graph = Graph(X=rows(rng))
        classes = max(2, shape["slots"])
        for transform in TRANSFORMS:
            # Where there is one score, only the first of two is written by onnxruntime.
            if transform == "PROBIT" and classes == 2:
                continue
            for base in (None, [0.25], [0.25, -0.5, 0.125][:classes]):
                if base and len(base) == 1 and (classes > 2 or "sparse" in name):
                    continue
                one_branch = [["BRANCH_LEQ"], ["BRANCH_LT"], BRANCHES][len(graph.nodes) % 3]
                trees = random_trees(rng, "class", branches=one_branch, **shape)
                labels = list(range(classes)) if classes == 2 else [30, -10, 20]
                graph.add("TreeEnsembleClassifier", ["X"], scores, classlabels_int64s=labels, base_values=base, post_transform=transform, **trees)
        # The score may be said to be that of the second class.
        if classes == 2 and shape["slots"] == 1:
            trees = random_trees(rng, "class", **shape)
            trees["class_ids"] = [1] * len(trees["class_ids"])
            for transform in ("NONE", "LOGISTIC", "SOFTMAX"):
                graph.add("TreeEnsembleClassifier", ["X"], scores, classlabels_int64s=[0, 1], post_transform=transform, **trees)
        trees = random_trees(rng, "class", **shape)
        graph.add("TreeEnsembleClassifier", ["X"], (TensorProto.STRING, TensorProto.FLOAT), classlabels_strings=["no", "yes", "ü"][:classes], **trees)
        graph.write(f"trees-{name}", 3)

    # Integers, doubles, and thresholds that only doubles tell apart.
    graph = Graph(I=rng.integers(-3, 4, (30, FEATURES)), J=rng.integers(-3, 4, (30, FEATURES)).astype(np.int32), D=rows(rng).astype(np.float64))
    for source in graph.inputs:
        for slots in (1, 3):
            trees = random_trees(rng, "class", slots)
            graph.add("TreeEnsembleClassifier", [source], scores, classlabels_int64s=list(range(max(2, slots))), **trees)
    graph.inputs["D"][:15, 0] = 1 + 1e-12
    trees = random_trees(rng, "class", 3)
    for key in ("nodes_values", "class_weights"):
        trees[key + "_as_tensor"] = helper.make_tensor(key, TensorProto.DOUBLE, [len(trees[key])], trees.pop(key))
    graph.add("TreeEnsembleClassifier", ["D"], scores, classlabels_int64s=[0, 1, 2], **trees)
    graph.write("trees-types", 3)


def regressors() -> None:
    rng = np.random.default_rng(5)
    for name, more in {"one-target": dict(slots=1), "two-targets": dict(slots=2, sparse=True, missing=True)}.items():
        graph = Graph(X=rows(rng))
        for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
            for transform in TRANSFORMS:
                for base in (None, [0.25, -0.5][: more["slots"]]):
                    trees = random_trees(rng, "target", trees=3, depth=3, **more)
                    graph.add("TreeEnsembleRegressor", ["X"], [TensorProto.FLOAT], n_targets=more["slots"], aggregate_function=aggregate, post_transform=transform, base_values=base, **trees)
        graph.write(f"trees-{name}", 3)

    # Version 5. Branches only: 0 -> (1, 2), 1 -> (leaf 0, 3), 2 -> (leaf 1, leaf 2), 3 -> (leaf 3, leaf 4); 4 and 5 stand alone.
    # Rows of whole numbers, because onnxruntime takes a fraction for its whole part in a test of membership. The transforms 1
    # and 2 are left out: to ONNX they are SOFTMAX and LOGISTIC, to onnxruntime 1.32 the other way round.
    whole = lambda: np.trunc(rows(rng))
    graph = Graph(X=whole(), D=whole().astype(np.float64))
    for source, kind in (("X", np.float32), ("D", np.float64)):
        tensor = lambda values, kind=kind: numpy_helper.from_array(np.array(values, kind))
        for aggregate in range(4):
            for transform in (0, 3, 4):
                for modes, members in (([0, 1, 2, 3, 4, 5], None), ([0, 6, 2, 6, 0, 6], [-1, 0, 2, np.nan, 1, np.nan, -2, 2, np.nan])):
                    graph.add(
                        "TreeEnsemble",
                        [source],
                        [helper.np_dtype_to_tensor_dtype(np.dtype(kind))],
                        n_targets=2,
                        aggregate_function=aggregate,
                        post_transform=transform,
                        tree_roots=[0, 4, 5],
                        nodes_modes=numpy_helper.from_array(np.array(modes, np.uint8)),
                        nodes_splits=tensor([0, 1, -1, 2, 0, 1]),
                        nodes_featureids=[0, 1, 2, 0, 1, 2],
                        nodes_truenodeids=[1, 0, 1, 3, 5, 7],
                        nodes_trueleafs=[0, 1, 1, 1, 1, 1],
                        nodes_falsenodeids=[2, 3, 2, 4, 6, 8],
                        nodes_falseleafs=[0, 0, 1, 1, 1, 1],
                        nodes_missing_value_tracks_true=[1, 0, 1, 0, 1, 0],
                        leaf_targetids=[0, 1, 0, 1, 0, 1, 0, 0, 1],
                        leaf_weights=tensor(np.round(rng.normal(size=9), 3)),
                        membership_values=members and tensor(members),
                    )
    graph.write("trees-version-5", 5, opset=21)


def encoders() -> None:
    text, number = TensorProto.STRING, TensorProto.INT64
    t = np.array(["a", "b", "c", "d", "ü", ""], object).reshape(6, 1)
    i = np.array([[0], [1], [2], [3], [-7], [9]])
    f = np.array([[0.5], [1], [np.nan], [-0.0], [3], [9]], np.float32)
    graph = Graph(T=t, I=i)
    graph.add("LabelEncoder", ["T"], [number], classes_strings=["c", "a", "ü"], default_int64=-3, default_string="none")
    graph.add("LabelEncoder", ["I"], [text], classes_strings=["c", "a", "ü"], default_int64=-3, default_string="none")
    graph.write("labels-version-1", 1)
    keys = {"T": ("strings", ["a", "ü", "", "a"]), "I": ("int64s", [2, -7, 0, 2]), "F": ("floats", [0.5, 3.0, 0.0, 0.5])}
    values = {"strings": (text, ["x", "y", "ö", "z"]), "int64s": (number, [5, -6, 7, 8]), "floats": (TensorProto.FLOAT, [0.25, -1.5, 2.5, 9.0])}
    defaults = {"strings": {"default_string": "other"}, "int64s": {"default_int64": 77}, "floats": {"default_float": -9.5}}
    for version in (2, 4):
        graph = Graph(T=t, I=i, F=f) if version == 2 else Graph(T=t, I=i, F=f, D=f.astype(np.float64))
        for source, (kind, own) in keys.items():
            for given, (output, them) in values.items():
                # Known to neither version.
                if kind == given == "floats" and version == 2:
                    continue
                for default in ({}, defaults[given]):
                    try:
                        single = Graph(**{source: graph.inputs[source]})
                        single.add("LabelEncoder", [source], [output], **{f"keys_{kind}": own, f"values_{given}": them}, **default)
                        helper_model = helper.make_model(
                            helper.make_graph(single.nodes, "try", [helper.make_tensor_value_info(source, {"T": text, "I": number, "F": TensorProto.FLOAT}[source], [None, 1])], single.outputs),
                            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(ML, version)],
                            ir_version=9,
                        )
                        answers(helper_model, single.inputs)
                    except Exception:
                        print(f"onnxruntime has no LabelEncoder {version} from {kind} to {given}")
                        continue
                    graph.add("LabelEncoder", [source], [output], **{f"keys_{kind}": own, f"values_{given}": them}, **default)
        if version == 4:
            tensor = lambda values, kind: helper.make_tensor("t", kind, [len(values)], values)
            double = TensorProto.DOUBLE
            graph.add("LabelEncoder", ["D"], [double], keys_tensor=tensor([0.5, np.nan, 0.0], double), values_tensor=tensor([1e-9, 2.0, 3.0], double), default_tensor=tensor([-1.0], double))
            graph.add("LabelEncoder", ["T"], [double], keys_tensor=tensor([b"b", b"a"], text), values_tensor=tensor([1e-9, 2.0], double), default_tensor=tensor([-1.0], double))
            graph.add("LabelEncoder", ["D"], [text], keys_tensor=tensor([0.5, np.nan], double), values_tensor=tensor([b"half", b"nothing"], text), default_tensor=tensor([b"?"], text))
            graph.add("LabelEncoder", ["I"], [number], keys_tensor=tensor([1, 2], number), values_tensor=tensor([10, 20], number), default_tensor=tensor([-10], number))
        graph.write(f"labels-version-{version}", version, opset=17 if version == 2 else 21)


def columns() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(20, 4)).astype(np.float32)
    x[0] = 0
    i = rng.integers(-3, 4, (20, 4))
    t = rng.choice(["a", "b", "c"], (20, 2)).astype(object)
    flt = TensorProto.FLOAT
    graph = Graph(X=x, D=x.astype(np.float64), I=i, J=i.astype(np.int32), T=t)
    for source in "XDIJ":
        graph.add("Scaler", [source], [flt], offset=[0.5, -1.0, 0.0, 0.1], scale=[2.0, 1.0, 0.5, 3.0])
        graph.add("Scaler", [source], [flt], offset=[0.5], scale=[2.0])
        for norm in ("MAX", "L1", "L2"):
            graph.add("Normalizer", [source], [flt], norm=norm)
        graph.add("FeatureVectorizer", [source, source], [flt], inputdimensions=[3, 6])
        post = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")[len(graph.nodes) % 4]
        graph.add("LinearClassifier", [source], [TensorProto.INT64, flt], coefficients=[0.5, -1.0, 2.0, 0.25] * 3, intercepts=[0.1, 0.0, -0.1], classlabels_ints=[4, 9, 2], post_transform=post)
        graph.add("LinearClassifier", [source], [TensorProto.STRING, flt], coefficients=[0.5, -1.0, 2.0, 0.25], intercepts=[0.1], classlabels_strings=["no", "yes"], post_transform=post if post == "LOGISTIC" else "NONE")
    for post in TRANSFORMS[:4]:
        graph.add("LinearRegressor", ["X"], [flt], coefficients=[0.5, -1.0, 2.0, 0.25] * 2, intercepts=[0.1, -0.1], targets=2, post_transform=post)
        graph.add("LinearRegressor", ["X"], [flt], coefficients=[0.5, -1.0, 2.0, 0.25], targets=1, post_transform=post)
    graph.add("Binarizer", ["X"], [flt], threshold=0.25)
    graph.add("OneHotEncoder", ["T"], [flt], cats_strings=["c", "a"])
    graph.add("OneHotEncoder", ["I"], [flt], cats_int64s=[0, 2, -3], zeros=1)
    graph.add("OneHotEncoder", ["X"], [flt], cats_int64s=[1, 0, -1])
    graph.add("OneHotEncoder", ["D"], [flt], cats_int64s=[1, 0, -1])
    graph.add("Imputer", ["I"], [TensorProto.INT64], imputed_value_int64s=[5], replaced_value_int64=2)
    graph.add("Imputer", ["I"], [TensorProto.INT64], imputed_value_int64s=[5, 6, 7, 8], replaced_value_int64=-1)
    graph.add("Imputer", ["X"], [flt], imputed_value_floats=[5.0, 6.0, 7.0, 8.0], replaced_value_float=0.0)
    graph.write("columns", 1)


if __name__ == "__main__":
    train_all()
    classifiers()
    regressors()
    encoders()
    columns()
