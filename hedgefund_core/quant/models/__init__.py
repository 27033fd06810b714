"""Models: what scores instruments. Loading and scoring need numpy only; trainers import scikit-learn when they are called."""

from __future__ import annotations

from hedgefund_core.quant.models.model import KINDS, Kind, ScoreModel, load_model, score_panel
from hedgefund_core.quant.models.registry import MODELS, ModelSpec, model_spec
from hedgefund_core.quant.models.rule import RuleModel, single_feature_rule

__all__ = [
    "KINDS",
    "MODELS",
    "Kind",
    "ModelSpec",
    "RuleModel",
    "ScoreModel",
    "load_model",
    "model_spec",
    "score_panel",
    "single_feature_rule",
]
