"""``judge``: every rule on every order of a batch, the same verdicts as judging one order after the other.

Pure and deterministic. There is no bypass: a rule that cannot be evaluated denies entries, unless the source's configuration waives it
by name (replay and simulation only), and a waived rule that *can* be evaluated judges like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.risk import RULES
from hedgefund_core.risk.compare import both, every, some
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import Bools, OrderBatch, RiskContext, Rule, RuleResult, Values

ALLOW, DENY, NOT_EVALUABLE = "allow", "deny", "not_evaluable"
_WORDS = np.array([ALLOW, DENY, NOT_EVALUABLE])
_ALLOW, _DENY, _BLIND = range(3)
_FAILURES = (ArithmeticError, ValueError, IndexError, KeyError)


class RuleVerdicts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one rule said of each of ``n`` orders.

    Attributes
    ----------
    rule, unit : of the rule. orders : n.
    measured, limit : float64 (n,), or one number that holds for all; NaN = nothing to measure.
    codes : int64 (n,), the verdicts as numbers; None = all allow, as nearly always.
    reason : of the denials, the same for the whole batch.
    """

    rule: str
    unit: str
    orders: int
    measured: Values
    limit: Values
    codes: NDArray[np.int64] | None
    reason: str

    @property
    def is_clean(self) -> bool:
        """Whether the rule allows every order."""
        return self.codes is None

    @property
    def verdict(self) -> NDArray[np.str_]:
        """Str (n,), allow, deny, or not_evaluable (only where the rule is waived: elsewhere missing data is a denial)."""
        return _WORDS[np.zeros(self.orders, dtype=np.int64) if self.codes is None else self.codes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The judgement of a batch: ``allowed`` bool (n,), and one `RuleVerdicts` a rule, in the order of RULES."""

    allowed: Bools
    results: tuple[RuleVerdicts, ...]

    @property
    def not_evaluable(self) -> dict[str, int]:
        """Orders that a waived rule could not judge, by rule: shown in every report."""
        counts = {result.rule: int((result.codes == _BLIND).sum()) for result in self.results if result.codes is not None}
        return {rule: count for rule, count in counts.items() if count}


def judge(batch: OrderBatch, context: RiskContext, mandate: Mandate, waived: frozenset[str], rules: tuple[Rule, ...] = RULES) -> Judged:
    """Judge a batch of orders in its order; an allowed order reserves before the next is judged.

    Parameters
    ----------
    batch : n orders, reductions first. context, mandate : the account, and the limits it trades under.
    waived : names of rules whose missing data do not deny.
    rules : the registry; tests give others.

    Returns
    -------
    Judged. Each order is judged as if the allowed ones before it, and no denied one, were working.
    """
    with np.errstate(all="ignore"):  # NaN and infinity are findings here, not accidents
        fixed = {rule.name: _found(rule, batch, context, mandate, waived) for rule in rules if not rule.sequential}
        reserves = within = _allowed(fixed, np.ones(len(batch), dtype=np.bool_))
        while True:
            reserved = batch if every(reserves) else replace(batch, reserves=reserves)
            chained = {rule.name: _found(rule, reserved, context, mandate, waived) for rule in rules if rule.sequential}
            found = _allowed(chained, within)
            if every(found == reserves):
                break
            # A verdict depends on earlier reservations only. So where reservations and verdicts agree they are those of judging one
            # by one, and each round the agreement reaches at least one order further: usually two rounds, at most n.
            reserves = found
    results = fixed | chained
    return Judged(allowed=reserves, results=tuple([results[rule.name] for rule in rules]))


def _found(rule: Rule, batch: OrderBatch, context: RiskContext, mandate: Mandate, waived: frozenset[str]) -> RuleVerdicts:
    """One rule on the batch: entries fail closed, and a reduction meets only the rules made for it."""
    result = _checked(rule, batch, context, mandate)
    codes, reason = None, result.reason
    if not every(both(result.evaluable, result.allowed)):
        evaluable, allowed = (np.broadcast_to(flags, len(batch)) for flags in (result.evaluable, result.allowed))
        passed = evaluable & allowed if rule.applies_to_reductions else evaluable & allowed | batch.reduction
        codes = np.where(passed, _ALLOW, np.where(evaluable, _DENY, _BLIND if rule.name in waived else _DENY))
        reason = reason if every(evaluable) or some(evaluable & ~allowed) else f"its data are missing ({reason})"
    return RuleVerdicts(
        rule=rule.name, unit=rule.unit, orders=len(batch), measured=result.measured, limit=result.limit, codes=codes, reason=reason
    )


def _allowed(results: dict[str, RuleVerdicts], within: Bools) -> Bools:
    """Orders of ``within`` that no rule denies."""
    for found in results.values():
        if found.codes is not None:
            within = within & (found.codes != _DENY)
    return within


def _checked(rule: Rule, batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    try:
        return rule.check(batch, context, mandate)
    except _FAILURES as error:
        return RuleResult(allowed=False, evaluable=False, measured=np.nan, limit=np.nan, reason=f"{type(error).__name__}: {error}")
