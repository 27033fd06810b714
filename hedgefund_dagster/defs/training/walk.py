"""Walk-forward of every variant on the study's folds; folds scored by an earlier run on the same data are not fitted again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from hedgefund_core import layout
from hedgefund_core.backtest.models_settings import ModelsSettings
from hedgefund_core.backtest.trials import TrialIdentity, trial_key
from hedgefund_core.errors import ConfigError, DataUnavailable
from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import FeatureSpec, code_digest
from hedgefund_core.quant.measures.information_coefficient import information_coefficient
from hedgefund_core.quant.measures.measure import Measure
from hedgefund_core.quant.models import model_spec, score_panel, single_feature_rule
from hedgefund_core.quant.models.model import ScoreModel
from hedgefund_core.quant.models.training import Params
from hedgefund_core.quant.models.walk_forward import fit_rows, walk_forward
from hedgefund_dagster.defs.training.records import Candidate, Figure, figure, finite
from hedgefund_dagster.defs.training.study import Study
from hedgefund_dagster.progress import report
from hedgefund_dagster.resources.lake import Lake

CRITERION = "mean_information_coefficient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """One variant with its scores out of sample.

    Attributes
    ----------
    key : of the trial (reruns and later cuts have the same). scores : float64 (n_sessions, n_symbols).
    chosen_by : the choice rule's figure, from the selection folds only. ic : over the sessions that are judged.
    """

    name: str
    kind: str
    params: Params
    key: str
    identity: TrialIdentity
    scores: Floats
    chosen_by: float
    ic: Measure


def walk_all(study: Study, lake: Lake) -> list[Walked]:
    """The rule and every variant of every challenger, in the order of the configuration."""
    variants = [(study.settings.rule, model_spec(study.settings.rule).params)]
    for name, grid in study.settings.challengers.items():
        variants.extend((name, params) for params in (grid or model_spec(name).grid))
    if len(variants) > 12:
        message = f"config/models.yaml asks for {len(variants)} trials; each one makes luck likelier"
        raise ConfigError(message, mend="keep at most 12 variants, or choose between them in a notebook and note them in prior_trials.yaml")
    walked = []
    for done, (name, params) in enumerate(variants):
        report(f"walk-forward {name}", done, len(variants))
        walked.append(_walk(study, name, params, lake))
    report("walk-forward", len(variants), len(variants))
    return walked


def best_variant(walked: list[Walked], name: str) -> Walked:
    """The variant of a model that the declared rule chooses: the first of the highest, by the selection folds."""
    return max((one for one in walked if one.name == name), key=lambda one: _known(one.chosen_by))


def challenger(walked: list[Walked], settings: ModelsSettings) -> Walked:
    """The challenger that the declared rule chooses among the best variants."""
    if settings.choice.criterion != CRITERION:
        message = f"config/models.yaml: choice.criterion {settings.choice.criterion!r} is unknown"
        raise ConfigError(message, mend=f"use {CRITERION}")
    return max((best_variant(walked, name) for name in settings.challengers), key=lambda one: _known(one.chosen_by))


def candidates(walked: list[Walked], settings: ModelsSettings, run_ids: Mapping[int, str]) -> tuple[Candidate, ...]:
    """Walked variants as records; the rule is always among the chosen."""
    best = {id(best_variant(walked, name)) for name in (settings.rule, *settings.challengers)}
    first = challenger(walked, settings) if settings.challengers else None
    return tuple(
        Candidate(
            number=number,
            name=one.name,
            kind=one.kind,
            params=dict(one.params),
            trial=one.key,
            identity=one.identity,
            chosen_by=Figure(value=finite(one.chosen_by)),
            ic=figure(one.ic),
            chosen=id(one) in best,
            challenger=one is first,
            run_id=run_ids.get(number, ""),
        )
        for number, one in enumerate(walked)
    )


def final_model(study: Study, name: str, params: Params) -> tuple[ScoreModel, tuple[FeatureSpec, ...]]:
    """The model of the cut: fitted on every label known by then; a rule reads its one column only."""
    if model_spec(name).kind == "rule":
        column = str(params["column"])
        return single_feature_rule(column), tuple(spec for spec in study.specs if spec.name == column)
    rows = np.arange(study.folds[0].train[0], study.panel.shape[0], dtype=np.int64)
    return fit_rows(study.research, rows, model_spec(name), params, study.settings.seed), study.specs


def _walk(study: Study, name: str, params: Params, lake: Lake) -> Walked:
    spec = model_spec(name)
    identity = _identity(study, name, params)
    if spec.kind == "rule":
        scores = _rule_scores(study, str(params["column"]))
    else:
        file = f"{layout.WALK_FORWARD}/{_cache_key(study, identity)}/folds.npz"
        known = _stored(lake, file)
        result = walk_forward(study.research, study.folds, spec, params, seed=study.settings.seed, known=known)
        if result.models:
            lake.write_arrays(file, result.fold_scores)
        scores = result.scores
    first, judged = study.tested_from, study.judged_from
    labels, overlap = study.research.labels, study.research.overlap
    # A selection label that ends inside the judged sessions would carry news of the test into the choice.
    chosen_labels = np.where((study.research.label_end < judged)[:, None], labels, np.nan)
    return Walked(
        name=name,
        kind=spec.kind,
        params=params,
        key=trial_key(identity),
        identity=identity,
        scores=scores,
        chosen_by=information_coefficient(scores[first:judged], chosen_labels[first:judged], overlap=overlap).value,
        ic=information_coefficient(scores[judged:], labels[judged:], overlap=overlap),
    )


def _rule_scores(study: Study, column: str) -> Floats:
    if column not in study.research.columns:
        message = f"the rule reads feature {column!r}, which this source does not give"
        raise ConfigError(message, mend="name another rule in config/models.yaml, or ingest a longer history")
    model = single_feature_rule(column)
    values = study.research.values[:, :, [study.research.columns.index(column)]]
    scores = score_panel(model, values, study.research.mask)
    scores[: study.tested_from] = np.nan
    return scores


def _identity(study: Study, name: str, params: Params) -> TrialIdentity:
    """Dates are those of the grid: scoring the same trial on the sessions a later cut adds is not another try."""
    costs = study.mandate.costs
    rules = study.settings.walk_forward
    return TrialIdentity(
        features={spec.name: dict(spec.params) for spec in study.specs} if model_spec(name).kind != "rule" else {str(params["column"]): {}},
        model=name,
        params={**params, "seed": study.settings.seed, "horizon": study.settings.label_horizon_sessions},
        universe=study.panel.symbols,
        first_session=study.folds[0].fold_id,
        last_session=f"grid of {rules.test_sessions} sessions, embargo {rules.embargo_sessions}",
        costs={"commission_bps": costs.commission_bps, "borrow_bps_per_year": costs.borrow_bps_per_year},
    )


def _cache_key(study: Study, identity: TrialIdentity) -> str:
    """Trial, data and feature code: scores of other data or other code are other scores."""
    parts = (trial_key(identity), study.panel.data_version, code_digest(study.specs), str(study.settings.train_every_sessions))
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]


def _stored(lake: Lake, file: str) -> Mapping[str, Floats]:
    try:
        return {name: np.asarray(values, dtype=np.float64) for name, values in lake.read_arrays(file).items()}
    except DataUnavailable:
        return {}


def _known(value: float) -> float:
    return value if np.isfinite(value) else -np.inf
