"""The ledger of trials: what was tried, counted once, and how many independent ideas that makes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.measures.overfitting import effective_number_of_trials, trial_correlations
from hedgefund_core.quant.measures.sharpe import is_flat, sharpe_ratio

Value = float | int | str
MIN_COMMON_SESSIONS = 60
"""On fewer common sessions correlations say nothing, and every trial counts as an idea of its own."""


class TrialIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes a trial a different one (contracts: Gate). A rerun has the same identity and adds nothing."""

    features: dict[str, dict[str, Value]]
    model: str
    params: dict[str, Value]
    universe: tuple[str, ...]
    first_session: str
    last_session: str
    costs: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """A trial with its outcome: net returns (n,) out of sample on ``sessions`` (n,) datetime64[D]."""

    key: str
    returns: NDArray[np.float64]
    sessions: NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSummary:
    """What the gate must know of the search.

    Attributes
    ----------
    n : trials made, prior ones included.
    n_effective : independent ideas among them.
    sharpes : float64, annual Sharpe ratios of the recorded trials over the declared baseline.
    highest_correlation : of two different trials; NaN with fewer than two.
    """

    n: int
    n_effective: float
    sharpes: NDArray[np.float64]
    highest_correlation: float


def trial_key(identity: TrialIdentity) -> str:
    """Sha256 of the canonical form: neither the order of names nor 1 against 1.0 makes a new trial."""
    canonical = msgspec.structs.replace(
        identity,
        features={name: _plain(params) for name, params in identity.features.items()},
        params=_plain(identity.params),
        universe=tuple(sorted(identity.universe)),
        costs={name: float(value) for name, value in identity.costs.items()},
    )
    return hashlib.sha256(msgspec.json.encode(canonical, order="deterministic")).hexdigest()


def ledger(records: Iterable[TrialRecord]) -> dict[str, TrialRecord]:
    """Fold records into one a key; the latest outcome of a rerun stands."""
    return {record.key: record for record in records}


def summarise_trials(
    records: Sequence[TrialRecord],
    *,
    baseline: TrialRecord | None = None,
    prior_trials: int = 0,
    sessions_per_year: float = 252.0,
) -> TrialSummary:
    """Count trials and cluster them.

    Parameters
    ----------
    records : outcomes; several of one key count once.
    baseline : the declared baseline, subtracted before Sharpe ratios are taken; None = cash.
    prior_trials : trials made before this ledger (config/prior_trials.yaml): no returns are known, so each counts whole.

    Raises
    ------
    DataInvalid : a negative number of prior trials, or a session of a trial that the baseline lacks.
    """
    if prior_trials < 0:
        raise DataInvalid("the number of prior trials cannot be negative", mend="correct config/prior_trials.yaml")
    unique = list(ledger(records).values())
    sharpes = [_sharpe(record, baseline, sessions_per_year) for record in unique]
    matrix = _common_returns(unique)
    n_effective, highest = float(len(unique)), float("nan")
    if matrix is not None:
        n_effective = effective_number_of_trials(matrix).value
        if len(unique) > 1:
            highest = float(np.max(trial_correlations(matrix)[np.triu_indices(len(unique), k=1)]))
    return TrialSummary(
        n=len(unique) + prior_trials,
        n_effective=n_effective + prior_trials,
        sharpes=np.array(sharpes, dtype=np.float64),
        highest_correlation=highest,
    )


def _plain(params: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value if isinstance(value, str) else float(value) for name, value in params.items()}


def _sharpe(record: TrialRecord, baseline: TrialRecord | None, sessions_per_year: float) -> float:
    excess = record.returns if baseline is None else record.returns - _on_sessions(baseline, record.sessions)
    return 0.0 if excess.size < 3 or is_flat(excess) else sharpe_ratio(excess, sessions_per_year=sessions_per_year).value


def _on_sessions(baseline: TrialRecord, sessions: NDArray[np.datetime64]) -> NDArray[np.float64]:
    if not bool(np.all(np.isin(sessions, baseline.sessions))):
        raise DataInvalid("the baseline lacks sessions of a trial", mend="run the baseline over the whole period")
    return baseline.returns[np.searchsorted(baseline.sessions, sessions)]


def _common_returns(records: Sequence[TrialRecord]) -> NDArray[np.float64] | None:
    if not records:
        return None
    common = records[0].sessions
    for record in records[1:]:
        common = np.intersect1d(common, record.sessions)
    if common.size < MIN_COMMON_SESSIONS:
        return None
    return np.column_stack([record.returns[np.isin(record.sessions, common)] for record in records])
