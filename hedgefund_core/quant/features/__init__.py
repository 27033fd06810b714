"""FEATURES: the registry. A new feature is one file and one line here; tests/contract/test_features.py picks it up."""

from __future__ import annotations

from hedgefund_core.quant.features import (
    momentum_3_1,
    momentum_6_1,
    momentum_12_1,
)
from hedgefund_core.quant.features.compute import (
    FeatureStream,
    code_digest,
    compute_features,
    default_specs,
    feature_named,
    latest_features,
    max_warm_up,
    resolve,
)
from hedgefund_core.quant.features.feature import Feature, FeaturePanel, FeatureSpec

FEATURES: dict[str, Feature] = {
    "momentum_12_1": momentum_12_1.FEATURE,
    "momentum_6_1": momentum_6_1.FEATURE,
    "momentum_3_1": momentum_3_1.FEATURE,
}

__all__ = [
    "FEATURES",
    "Feature",
    "FeaturePanel",
    "FeatureSpec",
    "FeatureStream",
    "code_digest",
    "compute_features",
    "default_specs",
    "feature_named",
    "latest_features",
    "max_warm_up",
    "resolve",
]
