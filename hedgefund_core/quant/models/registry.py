"""The registry of models: a new one is a file and a line here; the contract test picks it up by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import ConfigError
from hedgefund_core.quant.models.arrays import Floats
from hedgefund_core.quant.models.hist_gradient_boosting import fit_hist_gradient_boosting, fit_hist_gradient_boosting_ready
from hedgefund_core.quant.models.model import Kind
from hedgefund_core.quant.models.ridge import fit_ridge, fit_ridge_ready
from hedgefund_core.quant.models.rule import RuleModel
from hedgefund_core.quant.models.training import Fitter, Params, Trainer

MOMENTUM = "momentum_12_1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """How a model is made.

    Attributes
    ----------
    name : key in ``MODELS`` and in config/models.yaml.
    kind : format of the bundle.
    trainer : the training function; it imports its library when called.
    fitter : the same on rows standardised already, so that the folds of a walk share that work; None = the trainer standardises nothing.
    params : the default parameters, the variant researched unless the configuration says more.
    grid : all variants that may be tried; each counts as a trial.
    """

    name: str
    kind: Kind
    trainer: Trainer
    params: Params
    fitter: Fitter | None = None
    grid: tuple[Params, ...] = field(default=())


def fit_rule(
    features: Floats,
    labels: Floats,
    sessions: NDArray[np.int64],
    *,
    columns: tuple[str, ...],
    params: Params,
    seed: int,
) -> RuleModel:
    """Weight 1 on the column that ``params`` names: nothing is learned, so nothing can be overfitted."""
    name = str(params.get("column", ""))
    if name not in columns:
        message = f"rule reads feature {name!r}, which is not among {columns}"
        raise ConfigError(message, mend=f"add {name} to the features in config/models.yaml")
    weights = np.zeros(len(columns))
    weights[columns.index(name)] = 1.0
    return RuleModel(columns=columns, weights=weights)


_BOOSTING: Params = {
    "learning_rate": 0.05,
    "max_iter": 60,
    "max_leaf_nodes": 7,
    "min_samples_leaf": 100,
    "l2_regularization": 10.0,
}

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(name=MOMENTUM, kind="rule", trainer=fit_rule, params={"column": MOMENTUM}, grid=({"column": MOMENTUM},)),
        ModelSpec(
            name="ridge",
            kind="linear",
            trainer=fit_ridge,
            fitter=fit_ridge_ready,
            params={"alpha": 1000.0},
            grid=({"alpha": 100.0}, {"alpha": 1000.0}, {"alpha": 10_000.0}),
        ),
        ModelSpec(
            name="hist_gradient_boosting",
            kind="trees",
            trainer=fit_hist_gradient_boosting,
            fitter=fit_hist_gradient_boosting_ready,
            params=_BOOSTING,
            grid=(_BOOSTING, {**_BOOSTING, "max_leaf_nodes": 4}, {**_BOOSTING, "max_iter": 120, "learning_rate": 0.025}),
        ),
    )
}


def model_spec(name: str) -> ModelSpec:
    """Look a model up; raises ConfigError naming the known ones."""
    if name not in MODELS:
        message = f"unknown model {name!r} in models.yaml; known: {', '.join(MODELS)}"
        raise ConfigError(message, mend="correct config/models.yaml")
    return MODELS[name]
