"""The look-ahead audit: what runs on every materialization of features, labels, panels and fills.

It does not read code, it tries it: a value at t that changes when only the future changes has seen the future, whatever
the reason (a centred window, a z-score over the whole sample, a back-fill, a shift of the wrong sign, a later split
factor, an encoding of the target). Tables with three times and fills are checked by their times.

An empty list means nothing was found; a finding is a value, so that a check can show all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import FIELDS, Floats, Panel
from hedgefund_core.quant.features.compute import FeatureName, feature_named, resolve

Times = NDArray[np.datetime64]
_HOLE_ROWS = 3


class LookAheadCheck(StrEnum):
    """What was tried."""

    PREFIX = "prefix_invariance"
    FUTURE = "future_perturbation"
    WINDOW = "stated_window"
    RESTATEMENT = "late_restatement"
    SPLIT_FACTOR = "future_split_factor"
    SAME_BAR_FILL = "same_bar_fill"
    LABEL = "label_overlap"
    TARGET = "target_in_score"


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAheadFinding:
    """The first place where something was known too early.

    Attributes
    ----------
    check : which check found it.
    subject : the feature, field or table.
    session, symbol : the first cell.
    seen : the value as it was used.
    known : the value as it could be known then (NaN = nothing could be).
    """

    check: LookAheadCheck
    subject: str
    session: np.datetime64
    symbol: str
    seen: float
    known: float

    def __str__(self) -> str:
        """One line for a check's description."""
        return f"{self.check.value}: {self.subject} of {self.symbol} at {self.session} is {self.seen!r}, knowable then: {self.known!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedKernel:
    """A function of a panel under audit: a registered feature with its parameters, or any other."""

    name: str
    warm_up: int
    kernel: Callable[[Panel], Floats]

    @classmethod
    def of(cls, feature: FeatureName) -> AuditedKernel:
        """The kernel of a registered feature."""
        spec = resolve([feature])[0]
        return cls(name=spec.name, warm_up=spec.warm_up, kernel=lambda panel: feature_named(spec.name).values(panel, spec.params))


def default_cuts(n_sessions: int, warm_up: int) -> list[int]:
    """Positions to cut a panel at: early, middle and the last but one, all with a whole window where the panel has one."""
    first = min(warm_up, max(n_sessions - 2, 0))
    last = max(n_sessions - 2, 0)
    return sorted({first + (last - first) // 8, (first + last) // 2, last})


def audit_feature(
    panel: Panel, values: Floats, feature: FeatureName | AuditedKernel, *, cuts: Sequence[int] | None = None
) -> list[LookAheadFinding]:
    """Whether values of a feature depend on anything after their own session.

    Parameters
    ----------
    panel : the bars the values were computed from.
    values : float64 (n_sessions, n_symbols), as computed on the whole panel.
    feature : name, spec, or any kernel.
    cuts : positions of sessions to try; `default_cuts` if None.

    Returns
    -------
    At most one finding a check, the earliest session of it:

    - prefix invariance: the values up to a cut, computed on the data up to the cut only, are the same bits;
    - future perturbation: altering every bar after the cut, and again where bars are absent up to the cut, changes no
      value up to the cut (this is what finds a back-fill on data without gaps, and a split factor before any split);
    - stated window: the value from the last ``warm_up`` rows alone is the same bits.

    Notes
    -----
    NaN equals NaN. Nothing here is random, so a finding can be repeated.
    """
    subject = feature if isinstance(feature, AuditedKernel) else AuditedKernel.of(feature)
    if values.shape != panel.shape:
        message = f"values of {subject.name} have shape {values.shape}, the panel {panel.shape}"
        raise DataInvalid(message)
    positions = default_cuts(panel.shape[0], subject.warm_up) if cuts is None else list(cuts)
    found = [
        *(_prefix(panel, values, subject, cut) for cut in positions),
        *(_future(panel, subject, cut, hole=hole) for cut in positions for hole in (False, True)),
        *(_window(panel, values, subject, cut) for cut in positions),
    ]
    return _earliest([finding for finding in found if finding is not None])


def _earliest(findings: list[LookAheadFinding]) -> list[LookAheadFinding]:
    by_check: dict[LookAheadCheck, LookAheadFinding] = {}
    for finding in findings:
        held = by_check.get(finding.check)
        if held is None or finding.session < held.session:
            by_check[finding.check] = finding
    return list(by_check.values())


def _difference(check: LookAheadCheck, subject: str, panel: Panel, seen: Floats, known: Floats) -> LookAheadFinding | None:
    """The first cell (by session, then symbol) of two arrays on the first rows of ``panel`` that is not the same bits."""
    same = (seen == known) | (np.isnan(seen) & np.isnan(known))
    if bool(same.all()):
        return None
    row, column = (int(place) for place in np.argwhere(~same)[0])
    return LookAheadFinding(
        check=check,
        subject=subject,
        session=panel.sessions[row],
        symbol=panel.symbols[column],
        seen=float(seen[row, column]),
        known=float(known[row, column]),
    )


def _prefix(panel: Panel, values: Floats, subject: AuditedKernel, cut: int) -> LookAheadFinding | None:
    known = subject.kernel(panel.rows(0, cut + 1))
    return _difference(LookAheadCheck.PREFIX, subject.name, panel, values[: cut + 1], known)


def _window(panel: Panel, values: Floats, subject: AuditedKernel, cut: int) -> LookAheadFinding | None:
    start = max(0, cut + 1 - subject.warm_up)
    known = subject.kernel(panel.rows(start, cut + 1))[-1:]
    return _difference(LookAheadCheck.WINDOW, subject.name, panel.rows(cut, cut + 1), values[cut : cut + 1], known)


def _future(panel: Panel, subject: AuditedKernel, cut: int, *, hole: bool) -> LookAheadFinding | None:
    # A stretch around the cut is enough, since both sides of the comparison are computed on the same rows.
    start = max(0, cut + 1 - subject.warm_up - _HOLE_ROWS - 1)
    stretch = panel.rows(start, cut + 1 + subject.warm_up)
    position = cut - start
    if hole:
        stretch = _with_hole(stretch, position)
    seen = subject.kernel(stretch)[: position + 1]
    known = subject.kernel(altered_after(stretch, position))[: position + 1]
    return _difference(LookAheadCheck.FUTURE, subject.name, stretch, seen, known)


def _with_hole(panel: Panel, cut: int) -> Panel:
    """No bars in the last rows up to the cut: a fill from the future would have to show itself here."""
    changes: dict[str, Any] = {}
    for name in FIELDS:
        values = getattr(panel, name)
        if values is not None:
            changes[name] = values.copy()
            changes[name][max(0, cut + 1 - _HOLE_ROWS) : cut + 1] = np.nan
    return replace(panel, **changes)


def altered_after(panel: Panel, cut: int) -> Panel:
    """The panel with every number after position ``cut`` changed, NaN included, by a fixed pattern."""
    changes: dict[str, Any] = {}
    for name in (*FIELDS, "dividends", "split_ratios", "benchmark"):
        values = getattr(panel, name)
        if values is None:
            continue
        future = values[cut + 1 :]
        pattern = 1.5 + (np.arange(future.size, dtype=np.float64).reshape(future.shape) * 7.0 % 11.0) / 10.0
        changes[name] = np.concatenate([values[: cut + 1], np.where(np.isnan(future) | (future == 0.0), 100.0, future) * pattern])
    return replace(panel, **changes)


# --- tables with three times, labels and fills: by their times ----------------------------------------------------------


def audit_restatement(
    subject: str, *, symbols: Sequence[str], ts: Times, known_at: Times, used_at: Times, values: Floats
) -> list[LookAheadFinding]:
    """Rows used before anybody could know them: a late restatement read as if it had always been there.

    Parameters
    ----------
    symbols, ts, known_at, values : the rows that were used, (n_rows,) each.
    used_at : when each row was first used (decision time of its session), (n_rows,).
    """
    late = np.flatnonzero(known_at > used_at)
    return [_row_finding(LookAheadCheck.RESTATEMENT, subject, symbols, ts, values, int(row)) for row in late[:1]]


def audit_as_of(panel_values: Floats, as_of_values: Floats, panel: Panel, *, subject: str = "close") -> list[LookAheadFinding]:
    """Whether a panel holds what the versions known at each session's decision say (see point_in_time.as_of).

    Parameters
    ----------
    panel_values, as_of_values : float64 (n_sessions, n_symbols): as used, and as known at each session's decision time.
    panel : axes.
    """
    finding = _difference(LookAheadCheck.RESTATEMENT, subject, panel, panel_values, as_of_values)
    return [] if finding is None else [finding]


def audit_split_factors(
    subject: str, *, symbols: Sequence[str], applied_from: Times, effective: Times, ratios: Floats
) -> list[LookAheadFinding]:
    """Split factors applied as of a session before they were effective.

    Parameters
    ----------
    applied_from : the as-of session of the adjustment that used each factor, (n_rows,).
    effective : first session the split is effective at, (n_rows,).
    ratios : new shares per old share, (n_rows,).
    """
    early = np.flatnonzero(applied_from < effective)
    return [_row_finding(LookAheadCheck.SPLIT_FACTOR, subject, symbols, applied_from, ratios, int(row)) for row in early[:1]]


def audit_fills(symbols: Sequence[str], *, decided: Times, filled: Times, prices: Floats) -> list[LookAheadFinding]:
    """Fills at the session that was decided on, or before: the decision has seen that bar's close.

    Parameters
    ----------
    symbols, decided, filled, prices : symbol, decision session, fill session and price of each fill, (n_fills,).
    """
    early = np.flatnonzero(filled <= decided)
    return [_row_finding(LookAheadCheck.SAME_BAR_FILL, "fill", symbols, filled, prices, int(row)) for row in early[:1]]


def audit_labels(panel: Panel, values: Floats, *, start: NDArray[np.int64], end: NDArray[np.int64]) -> list[LookAheadFinding]:
    """Labels that begin on the bar that was decided on, or have a value although they end after the data.

    Parameters
    ----------
    values : float64 (n_sessions, n_symbols).
    start, end : position of the fill and of the last session of each row's label, (n_sessions,).
    """
    rows = np.arange(panel.shape[0])
    wrong = (start <= rows) | (end <= start) | ((end >= panel.shape[0]) & ~np.isnan(values).all(axis=1))
    return [
        LookAheadFinding(
            check=LookAheadCheck.LABEL,
            subject="label",
            session=panel.sessions[row],
            symbol=panel.symbols[0],
            seen=float(values[row, 0]),
            known=float("nan"),
        )
        for row in np.flatnonzero(wrong)[:1]
    ]


def audit_label_values(panel: Panel, values: Floats, *, end: NDArray[np.int64], label: Callable[[Panel], Floats]) -> list[LookAheadFinding]:
    """Labels that read more than the sessions up to their stated end.

    Parameters
    ----------
    values : float64 (n_sessions, n_symbols), as stored.
    end : position of the last session each row's label reads, (n_sessions,), not decreasing.
    label : the label as a function of a panel; tried on the panel cut at three places.

    Returns
    -------
    The earliest cell that is not the same bits when nothing after its end is known, or nothing.
    """
    found = []
    for cut in default_cuts(panel.shape[0], int(end[0]) + 1):
        known = label(panel.rows(0, cut + 1))
        rows = int(np.searchsorted(end, cut, side="right"))
        found.append(_difference(LookAheadCheck.LABEL, "label", panel, values[:rows], known[:rows]))
    return _earliest([finding for finding in found if finding is not None])


def _row_finding(check: LookAheadCheck, subject: str, symbols: Sequence[str], when: Times, values: Floats, row: int) -> LookAheadFinding:
    return LookAheadFinding(
        check=check,
        subject=subject,
        session=when[row].astype("datetime64[D]"),
        symbol=symbols[row],
        seen=float(values[row]),
        known=float("nan"),
    )
