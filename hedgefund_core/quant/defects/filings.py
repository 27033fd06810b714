"""Unit errors in filings: thousands for dollars, shares for dollars, a lost or added minus sign.

A fact is compared with the same fact of the same filer in neighbouring periods (same unit, same length of period) and with
what other filers report under the same name. Statements do move; so a fact is held only if it is off by a hundred times or more,
by far more than facts of its name ever are, while its neighbours agree with each other and the rest of its filing with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.defects.defect import Severity
from hedgefund_core.quant.defects.grid import Flags, Rows

NEIGHBOURS = 3
"""Facts on each side in time."""
ENOUGH = 2
FAR = 2.0
"""A hundred times (cents for dollars) is the least error of unit; in powers of ten."""
BEYOND = 2.5
"""And so many times the distance that 99 of 100 facts of that name keep: net income may be nearly nothing, total assets may not."""
AGREE = np.log10(20.0)
"""Neighbours further apart than that say nothing about the fact between them."""
QUANTILE = 0.99
COMPANY = 3
"""A filing of fewer facts in a unit has no middle to compare with."""
PEERS = 30
"""So many facts of a name show what is usual under it."""
USUAL = 0.98
"""So large a share is positive, or in one unit: the others are odd."""
QUARTER = 91.3125


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts column-wise, in any order.

    Attributes
    ----------
    entity, concept, unit, filing : who, what, in what, and in which document (text).
    days : length of the period, 0 for a fact at a moment.
    period_end : last day of the period.
    known_at : when the filing was public.
    value : the fact.
    """

    entity: NDArray[np.str_]
    concept: NDArray[np.str_]
    unit: NDArray[np.str_]
    filing: NDArray[np.str_]
    days: NDArray[np.int64]
    period_end: NDArray[np.datetime64]
    known_at: NDArray[np.datetime64]
    value: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class FactDefect:
    """A fact that is not trusted: ``row`` in the facts as given, ``known_row`` the fact whose filing revealed it."""

    row: int
    known_row: int
    rule: str
    severity: Severity
    reason: str
    evidence: tuple[tuple[str, float], ...]


def find_fact_defects(facts: Facts) -> list[FactDefect]:
    """Facts a thousand times their neighbours, with an odd sign or in an odd unit, in row order."""
    if len(facts.value) == 0:
        return []
    found = [*_wrong_scale(facts), *_odd_sign(facts), *_odd_unit(facts), *_shares_as_money(facts)]
    return sorted(found, key=lambda item: (item.row, item.rule))


def _wrong_scale(facts: Facts) -> list[FactDefect]:
    order, group = _series(facts)
    logs = _logs(facts.value)
    near = _neighbours(logs[order], group)
    there = np.isfinite(near)
    judged = (there.sum(axis=1) >= ENOUGH) & np.isfinite(logs[order])
    level, away, spread = np.full(len(order), np.nan), np.full(len(order), np.nan), np.full(len(order), np.inf)
    level[judged] = np.nanmedian(near[judged], axis=1)
    away[judged] = logs[order][judged] - level[judged]
    spread[judged] = np.nanmax(near[judged], axis=1) - np.nanmin(near[judged], axis=1)
    limit = np.maximum(FAR, BEYOND * _usual_distance(facts.concept[order], away))
    odd = _odd_in_its_filing(facts, logs)
    found = []
    for place in np.flatnonzero((np.abs(away) > limit) & (spread <= AGREE)):
        row, known = int(order[place]), _last_known(facts, order, near, int(place))
        times = 10.0 ** abs(away[place])
        more = f"{times:,.0f} times" if away[place] > 0 else f"a {times:,.0f}th of"
        own = abs(odd[row]) >= abs(odd[row] - away[place]) if np.isfinite(odd[row]) else True
        which = "" if own else "; it fits the rest of its filing better than they do: look at both"
        what = f"{facts.concept[row]} {facts.value[row]:,.6g} {facts.unit[row]}"
        reason = f"{what} is {more} the {10.0 ** level[place]:,.6g} of the periods beside it: units mixed{which}"
        evidence = (("usual", float(10.0 ** level[place])), ("powers_of_ten", float(away[place])), ("spread", float(spread[place])))
        severity = Severity.ERROR if own else Severity.WARNING
        found.append(FactDefect(row=row, known_row=known, rule="wrong_scale", severity=severity, reason=reason, evidence=evidence))
    return found


def _logs(values: Floats) -> Floats:
    """Powers of ten of the size; NaN for nothing."""
    size = np.abs(values)
    return np.asarray(np.log10(size, out=np.full(len(size), np.nan), where=(size > 0) & np.isfinite(size)))


def _usual_distance(concept: NDArray[np.str_], away: Floats) -> Floats:
    """What 99 of 100 facts of the same name, of all filers, keep to their neighbours; one power of ten where few are known."""
    names, of_name = np.unique(concept, return_inverse=True)
    usual = np.full(len(names), 1.0)
    known = np.isfinite(away)
    for number in np.flatnonzero(np.bincount(of_name[known], minlength=len(names)) >= PEERS):
        usual[number] = float(np.quantile(np.abs(away[known & (of_name == number)]), QUANTILE))
    return np.asarray(usual[of_name])


def _odd_in_its_filing(facts: Facts, logs: Floats) -> Floats:
    """How far a fact's share of its filing lies from the usual share of its name, in powers of ten."""
    _, document = np.unique(np.char.add(np.char.add(facts.filing, "|"), facts.unit), return_inverse=True)
    _, name = np.unique(facts.concept, return_inverse=True)
    share = np.where(np.bincount(document)[document] >= COMPANY, logs - _group_medians(logs, document), np.nan)
    return np.asarray(share - _group_medians(share, name))


def _group_medians(values: Floats, group: Rows) -> Floats:
    """The median of each value's group, NaN left out."""
    order = np.lexsort((values, group))  # NaN last
    count = np.bincount(group[np.isfinite(values)], minlength=int(group.max()) + 1)
    starts = np.searchsorted(group[order], np.arange(len(count)))
    ordered = values[order]
    last = len(values) - 1
    middle = 0.5 * (ordered[np.minimum(starts + np.maximum(count - 1, 0) // 2, last)] + ordered[np.minimum(starts + count // 2, last)])
    return np.asarray(np.where(count > 0, middle, np.nan)[group])


def _odd_sign(facts: Facts) -> list[FactDefect]:
    """A negative fact of a name that is positive with nearly everybody, and of the usual size otherwise."""
    names, of_name = np.unique(facts.concept, return_inverse=True)
    positive = np.bincount(of_name, weights=facts.value >= 0, minlength=len(names))
    count = np.bincount(of_name, minlength=len(names))
    usual = (count >= PEERS) & (positive >= USUAL * count)
    order, group = _series(facts)
    near = _neighbours(facts.value[order], group)
    around = (np.nan_to_num(near) > 0).sum(axis=1)
    found = []
    for place in np.flatnonzero((facts.value[order] < 0) & usual[of_name[order]] & (around >= ENOUGH)):
        row, known = int(order[place]), _last_known(facts, order, near, int(place))
        share = float(positive[of_name[row]] / count[of_name[row]])
        reason = f"{facts.concept[row]} {facts.value[row]:,.6g} is negative; {share:.1%} of all are not, nor those of the periods beside it"
        evidence = (("value", float(facts.value[row])), ("positive_share", share))
        found.append(FactDefect(row=row, known_row=known, rule="odd_sign", severity=Severity.WARNING, reason=reason, evidence=evidence))
    return found


def _odd_unit(facts: Facts) -> list[FactDefect]:
    """A unit hardly anybody uses for the name: dollars for shares, a share count in dollars."""
    pair = np.char.add(np.char.add(facts.concept, "|"), facts.unit)
    names, of_name = np.unique(facts.concept, return_inverse=True)
    pairs, of_pair = np.unique(pair, return_inverse=True)
    total, same = np.bincount(of_name, minlength=len(names)), np.bincount(of_pair, minlength=len(pairs))
    share = same[of_pair] / total[of_name]
    found = []
    for row in np.flatnonzero((total[of_name] >= PEERS) & (share <= 1.0 - USUAL)):
        reason = f"{facts.concept[row]} is given in {facts.unit[row]}; {1 - share[row]:.1%} of all such facts are not"
        evidence = (("unit_share", float(share[row])),)
        item = FactDefect(row=int(row), known_row=int(row), rule="odd_unit", severity=Severity.WARNING, reason=reason, evidence=evidence)
        found.append(item)
    return found


def _shares_as_money(facts: Facts) -> list[FactDefect]:
    """A number of shares and an amount of one filing that are the same large number: one stands in the other's place."""
    counted = facts.unit == "shares"
    large = (np.abs(facts.value) >= 1000) & np.isfinite(facts.value)
    shares = {(facts.filing[row], facts.value[row]): row for row in np.flatnonzero(counted & large)}
    found = []
    for row in np.flatnonzero(~counted & large) if shares else ():
        twin = shares.get((facts.filing[row], facts.value[row]))
        if twin is not None:
            both = f"{facts.concept[row]} in {facts.unit[row]} and {facts.concept[twin]} in shares"
            reason = f"{both} are the same number, {facts.value[row]:,.6g}: one stands in the other's place"
            evidence = (("value", float(facts.value[row])),)
            item = FactDefect(
                row=int(row), known_row=int(row), rule="shares_as_money", severity=Severity.WARNING, reason=reason, evidence=evidence
            )
            found.append(item)
    return found


def _series(facts: Facts) -> tuple[Rows, Rows]:
    """Order of the facts by series and time, and the number of the series of each in that order.

    A series is one name of one filer, in one unit, over periods of one length (in quarters).
    """
    quarters = np.rint(facts.days / QUARTER).astype(np.int64)
    keys = [np.unique(values, return_inverse=True)[1] for values in (facts.entity, facts.concept, facts.unit)]
    order = np.lexsort((facts.known_at, facts.period_end, quarters, *keys[::-1]))
    changes: Flags = np.zeros(len(order), dtype=bool)
    for values in (*keys, quarters):
        changes[1:] |= values[order][1:] != values[order][:-1]
    return order, np.cumsum(changes)


def _neighbours(values: Floats, group: Rows) -> Floats:
    """The values up to three places before and after each one in its series, shape (n, 6); NaN where there is none."""
    near = np.full((len(values), 2 * NEIGHBOURS), np.nan)
    for lag in range(1, min(NEIGHBOURS, len(values) - 1) + 1):
        same = group[lag:] == group[:-lag]
        near[lag:, lag - 1] = np.where(same, values[:-lag], np.nan)
        near[:-lag, NEIGHBOURS + lag - 1] = np.where(same, values[lag:], np.nan)
    return near


def _last_known(facts: Facts, order: Rows, near: Floats, place: int) -> int:
    """Row of the latest filing among the fact and the neighbours it was judged by."""
    lags = [*range(-1, -NEIGHBOURS - 1, -1), *range(1, NEIGHBOURS + 1)]
    rows = [int(order[place]), *(int(order[place + lag]) for lag, value in zip(lags, near[place], strict=True) if np.isfinite(value))]
    return max(rows, key=lambda row: facts.known_at[row])
