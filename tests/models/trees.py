"""Models of scikit-learn, trained here and exported by skl2onnx; the data sets are those that scikit-learn ships."""

import warnings

import numpy as np
from skl2onnx import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

# The exporter reads two fields of support vector machines that scikit-learn will give up.
warnings.filterwarnings("ignore", category=FutureWarning)

# What the exporter is asked for: the newest that every engine here has read for years.
OPSET = {"": 17, "ai.onnx.ml": 3}


def trained(load, estimator):
    """The estimator, trained on seven tenths of the data, and the rest of the rows."""
    data = load()
    rows, held_out, answers, _ = train_test_split(data.data.astype(np.float32), data.target, test_size=0.3, random_state=42)
    return estimator.fit(rows, answers), held_out


def export(path, load, estimator, **options):
    """Writes the model; gives back rows that it has not seen."""
    fitted, held_out = trained(load, estimator)
    model = to_onnx(fitted, held_out[:1], options=options or None, target_opset=OPSET)
    path.write_bytes(model.SerializeToString())
    return held_out


def forest(path):
    """The default export: the probabilities are a list of dictionaries, which `ZipMap` makes."""
    return export(path, load_digits, RandomForestClassifier(50, random_state=0))


def boosting(path):
    return export(path, load_breast_cancer, GradientBoostingClassifier(n_estimators=30, random_state=0), zipmap=False)


def regressor(path):
    return export(path, load_diabetes, RandomForestRegressor(50, random_state=0))


def support_vectors(path):
    estimator = make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(random_state=0), ensemble=False))
    return export(path, load_wine, estimator, zipmap=False)


def support_vectors_with_maps(path):
    """The same as exporters write it when nobody says otherwise."""
    return export(path, load_wine, make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(random_state=0), ensemble=False)))
