"""Every limit with what is measured against it now, and the rules that cannot be judged, by name and with their reason."""

from __future__ import annotations

import math

from hedgefund_core.account import weights_of
from hedgefund_core.risk import LIVE_RULES, RULES
from hedgefund_core.risk.engine import DENY, NOT_EVALUABLE
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.triggers import SIGMA_FLOOR
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO
from live_executor.queries.shapes import RiskRow
from live_executor.queries.story import Story

WARN_SHARE = 0.8
"""Of a limit: from here on a row says `warn`."""
_FLOORS = frozenset({"signal_coverage", "signal_dispersion"})
"""Rules whose measure must reach the limit instead of staying under it."""
_EQUITY = "fraction of equity"


def risk(story: Story) -> list[RiskRow]:
    """Limits of the account as it stands, then what the newest decision's orders measured under each remaining rule."""
    mandate = story.state.mandate
    if mandate is None:
        return []
    rows = _account(story, mandate)
    named = {row.rule for row in rows}
    rules = RULES if story.state.is_replayed else (*RULES, *LIVE_RULES)
    return rows + [_rule(story, rule.name, rule.unit) for rule in rules if rule.name not in named]


def row(rule: str, measured: float | None, limit: float | None, unit: str, *, warn: float | None = None) -> RiskRow:
    """A ceiling: idle without a measure, warn from four fifths of the limit (or ``warn``), breach beyond it."""
    if measured is not None and not math.isfinite(measured):
        measured = None
    if warn is None and limit is not None:
        warn = WARN_SHARE * limit
    state = "ok"
    if measured is None:
        state = "idle"
    elif limit is not None and measured > limit * (1 + 1e-9):
        state = "breach"
    elif warn is not None and measured > warn:
        state = "warn"
    return RiskRow(rule=rule, measured=measured, warn=warn, limit=limit, unit=unit, status=state)


def _account(story: Story, mandate: Mandate) -> list[RiskRow]:
    state, limits = story.state, mandate.limits
    mark = story.marks[-1] if story.marks else None
    weights = sorted((abs(weight) for weight in weights_of(state).tolist()), reverse=True)
    held = [
        age
        for instrument, age in zip(state.instruments, state.mark_ages, strict=True)
        if state.ledger.quantity(instrument.instrument_id) != ZERO
    ]
    rows = [
        row("gross_exposure", None if mark is None else mark.gross, limits.max_gross, _EQUITY),
        row("net_exposure", None if mark is None else abs(mark.net), limits.max_net, _EQUITY),
        row("position_weight", max(weights, default=0.0), limits.max_position_weight, _EQUITY),
        row("top_five", sum(weights[:5]), limits.max_top_five, _EQUITY),
        row("herfindahl", sum(weight**2 for weight in weights), limits.max_herfindahl, "sum of squared weights"),
        row("drawdown", state.drawdown, limits.drawdown_flatten, "fraction of high-water mark", warn=limits.drawdown_start),
        _day_loss_row(story, mandate),
        row("volatility", None if mark is None else mark.volatility, mandate.target_volatility, "a year, ex ante"),
        row("beta", None if mark is None or mark.beta is None else abs(mark.beta), mandate.max_beta, "absolute, ex ante"),
        row("value_at_risk", None if mark is None else mark.value_at_risk, None, "fraction of equity, 95 %, one session"),
        row("stale_data", float(max(held, default=0)), float(limits.max_bar_age_sessions), "sessions"),
    ]
    bundle = state.bundle
    if bundle is not None:
        expires = float(bundle.manifest.expires_after_days)
        rows.append(row("model_age", float(bundle.manifest.age_days(story.ts.date())), expires, "days"))
    return rows


def _day_loss_row(story: Story, mandate: Mandate) -> RiskRow:
    limits, loss = mandate.limits, _day_loss(story, mandate)
    if mandate.target_volatility is None:
        return row("intraday_loss", loss, limits.intraday_loss_reduce, _EQUITY)
    return row("intraday_loss", loss, limits.intraday_loss_reduce_sigmas, "ex-ante daily sigmas")


def _day_loss(story: Story, mandate: Mandate) -> float | None:
    """The last session's loss in the sigmas it was expected to have; 0 for a gain."""
    if not story.marks:
        return None
    mark, root = story.marks[-1], math.sqrt(story.state.sessions_per_year)
    basis = mark.equity - mark.day_pnl
    expected = story.marks[-2].volatility if len(story.marks) > 1 else None
    if basis <= ZERO:
        return None
    loss = max(0.0, -float(mark.day_pnl / basis))
    if mandate.target_volatility is None:  # a discretionary book: of equity
        return loss
    floor = SIGMA_FLOOR * mandate.target_volatility
    return loss / (max(expected or 0.0, floor) / root)


def _rule(story: Story, name: str, unit: str) -> RiskRow:
    found = [verdict for verdict in _verdicts(story) if verdict.rule == name]
    if name in story.state.waived and all(None in {verdict.measured, verdict.limit} for verdict in found):
        reason = f"source {story.state.source} has no data for it (config/trading.yaml, waived); a cap on order value stands in"
        return RiskRow(rule=name, measured=None, warn=None, limit=None, unit=unit, status=NOT_EVALUABLE, reason=reason)
    if not found:
        return RiskRow(rule=name, measured=None, warn=None, limit=None, unit=unit, status="idle", reason="no order was judged yet")
    worst = max(found, key=lambda verdict: (verdict.verdict == DENY, _use(name, verdict)))
    if name in _FLOORS:
        state = "breach" if worst.verdict == DENY else "ok"
        return RiskRow(rule=name, measured=worst.measured, warn=None, limit=worst.limit, unit=unit, status=state, reason=worst.reason)
    shown = row(name, worst.measured, worst.limit, unit)
    state = "breach" if worst.verdict == DENY else ("ok" if shown.status == "breach" else shown.status)
    return RiskRow(rule=name, measured=shown.measured, warn=shown.warn, limit=shown.limit, unit=unit, status=state, reason=worst.reason)


def _verdicts(story: Story) -> list[e.RuleVerdict]:
    """Of the newest decision that had orders."""
    for recorded in reversed(story.decisions):
        if recorded.made.judgements:
            return [verdict for judgement in recorded.made.judgements for verdict in judgement.verdicts]
    return []


def _use(name: str, verdict: e.RuleVerdict) -> float:
    if verdict.measured is None or not verdict.limit:
        return -1.0
    share = verdict.measured / verdict.limit
    return -share if name in _FLOORS else share
