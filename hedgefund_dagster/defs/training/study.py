"""What a research run may see: everything known at its cut, on the session axis that ends there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.models_settings import ModelsSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features import FeatureSpec
from hedgefund_core.quant.labels import forward_returns
from hedgefund_core.quant.models.arrays import Ints
from hedgefund_core.quant.models.walk_forward import Research
from hedgefund_core.quant.sessions import rebalance_mask
from hedgefund_core.quant.splits import WalkForward, walk_forward
from hedgefund_core.risk.limits import Mandate


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFold:
    """A fold of the grid as positions; ``fold_id`` is made of dates, so that a later run finds it again."""

    fold_id: str
    train: Ints
    test: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Everything a research run reads.

    Attributes
    ----------
    panel : bars up to the cut. specs : features, in column order.
    research : features, labels and masks on the panel's axis. folds : oldest first.
    judged_from : position of the first session the gate may judge (after the folds that chose).
    """

    panel: Panel
    mandate: Mandate
    settings: ModelsSettings
    specs: tuple[FeatureSpec, ...]
    research: Research
    folds: tuple[CutFold, ...]
    judged_from: int

    @property
    def cut(self) -> str:
        """The last session that is known, as a date."""
        return str(self.panel.sessions[-1])

    @property
    def tested_from(self) -> int:
        """Position of the first session out of sample."""
        return int(self.folds[0].test[0])

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Sessions at whose close the book is decided, of the whole axis."""
        return rebalance_mask(self.panel.sessions, self.mandate.rebalancing.anchor)


def known_at_cut(panel: Panel, cut: str) -> Panel:
    """Rows whose bars could be known when session ``cut`` was decided on; an empty cut means all.

    Raises
    ------
    DataInvalid : the cut lies before the first session or is no date.
    """
    if not cut:
        return panel
    try:
        seen = panel.until(np.datetime64(cut, "D"))
    except ValueError as error:
        message = f"cut {cut!r} is no date"
        raise DataInvalid(message, mend="write the cut as YYYY-MM-DD") from error
    if seen.shape[0] == 0:
        message = f"no session of {panel.source} lies before the cut {cut}"
        raise DataInvalid(message, mend=f"choose a cut after {panel.sessions[0]}")
    late = np.zeros(0, dtype=np.int64) if seen.known_at is None else np.flatnonzero(seen.known_at > seen.known_at[-1])
    return seen.rows(0, int(late[0])) if late.size else seen  # a bar that came late ends what was known in order


def study(panel: Panel, features: Floats, specs: tuple[FeatureSpec, ...], mandate: Mandate, settings: ModelsSettings, start: str) -> Study:
    """Assemble a study.

    Parameters
    ----------
    panel : bars up to the cut. features : float64 (n_sessions, n_symbols, len(specs)) of the same sessions.
    start : research begins here (ISO date), or at the first session with all features.

    Raises
    ------
    DataInvalid : the history is too short for a single fold.
    """
    labels = forward_returns(panel, settings.label_horizon_sessions, fill="next_close" if panel.open is None else "next_open")
    warm = max((spec.warm_up for spec in specs), default=1) - 1
    origin = max(warm, int(np.searchsorted(panel.sessions, np.datetime64(start, "D"))) if start else 0)
    plan = _plan(panel, origin, settings)
    folds = tuple(_fold(panel, fold.train, fold.test) for fold in walk_forward(panel.sessions, labels.end, plan))
    if not folds:
        message = f"{panel.source} has {panel.shape[0] - origin} sessions after the warm-up: too few for one fold"
        raise DataInvalid(message, mend="give at least three years of history before the cut")
    research = Research(
        values=features,
        mask=np.isfinite(panel.close),
        labels=labels.values,
        label_end=labels.end,
        columns=tuple(spec.name for spec in specs),
        train_rows=_every(panel.shape[0], settings.train_every_sessions),
        overlap=labels.horizon - 1,
    )
    choosing = min(settings.choice.selection_folds, len(folds) // 3)
    judged_from = int(folds[choosing].test[0])
    return Study(panel=panel, mandate=mandate, settings=settings, specs=specs, research=research, folds=folds, judged_from=judged_from)


def _plan(panel: Panel, origin: int, settings: ModelsSettings) -> WalkForward:
    """The configured grid, its first training cut to half of a short history (whole years where there is one)."""
    rules, usable = settings.walk_forward, panel.shape[0] - origin
    first = min(rules.first_train_sessions, max(126, usable // 2 // 252 * 252))
    return WalkForward(
        test_sessions=rules.test_sessions,
        min_train_sessions=first,
        embargo_sessions=rules.embargo_sessions,
        max_folds=rules.max_folds,
        anchor=panel.sessions[min(origin, panel.shape[0] - 1)],
    )


def _fold(panel: Panel, train: slice, test: slice) -> CutFold:
    positions = np.arange(panel.shape[0], dtype=np.int64)
    name = f"{panel.sessions[train.start]}_{panel.sessions[test.start]}"
    return CutFold(fold_id=name, train=positions[train], test=positions[test])


def _every(n: int, step: int) -> NDArray[np.bool_]:
    """Each ``step``-th session counted from the first: an absolute grid, so that appended data moves no training row."""
    return np.asarray(np.arange(n) % step == 0)
