"""Realized against promised, from the journal alone: the record of a trading account."""

from __future__ import annotations

import msgspec
import numpy as np

from hedgefund_core.backtest.report import promised_against_kept
from hedgefund_core.risk.limits import promised
from hedgefund_dagster.defs.post_trade.realized import Realized, drift_bps
from hedgefund_dagster.defs.training.records import Figure, figure, finite


class PromiseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One promise and what became of it."""

    promised: float | None
    kept: float | None
    share_within: float | None
    by_construction: bool
    held: bool


class PostTradeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What an account did."""

    account: str
    source: str
    mandate: str
    sessions: int
    first_session: str
    last_session: str
    equity_start: str
    equity_end: str
    decisions: int
    orders: int
    fills: int
    partial_fills: int
    denied: int
    denied_by: dict[str, int]
    stand_ins: int
    splits: int
    max_drawdown_true: float
    max_drawdown_since_resume: float
    realized_volatility: float | None
    target_volatility: float
    commission: float
    borrow: float
    income: float
    decision_to_fill_drift_bps: float | None
    """Market move between decision and fill, signed against us; not a cost of trading in itself."""
    models: tuple[str, ...]
    figures: dict[str, Figure]
    promises: dict[str, PromiseRecord]


def post_trade_record(done: Realized) -> PostTradeRecord:
    """Every figure of the report."""
    result, fold = done.result, done.fold
    quantities: dict[str, int] = {}
    for fill in fold.fills:
        quantities[fill.client_order_id] = quantities.get(fill.client_order_id, 0) + 1
    partial = sum(1 for fill in fold.fills if fill.quantity < fold.intended[fill.client_order_id].quantity)
    return PostTradeRecord(
        account=done.account,
        source=done.source,
        mandate=done.mandate.name,
        sessions=len(result.sessions),
        first_session=str(result.sessions[0]),
        last_session=str(result.sessions[-1]),
        equity_start=f"{result.initial_cash:.2f}",
        equity_end=str(fold.marks[-1].equity),
        decisions=len(fold.decisions),
        orders=len(fold.intended) + len(fold.denied),
        fills=len(fold.fills),
        partial_fills=partial,
        denied=len(fold.denied),
        denied_by=done.denied_by,
        stand_ins=fold.stand_ins,
        splits=len(fold.splits),
        max_drawdown_true=done.max_drawdown_true,
        max_drawdown_since_resume=done.max_drawdown_since_resume,
        realized_volatility=_volatility(done),
        target_volatility=promised(done.mandate.target_volatility, "volatility", done.mandate),
        commission=float(result.commissions.sum()),
        borrow=float(result.borrow.sum()),
        income=float(result.income.sum()),
        decision_to_fill_drift_bps=drift_bps(fold),
        models=tuple(dict.fromkeys(f"{model.name} {model.version}" for model in fold.models)),
        figures={} if len(result.sessions) < 3 else {name: figure(value) for name, value in result.measures().items()},
        promises=_promises(done),
    )


def _promises(done: Realized) -> dict[str, PromiseRecord]:
    """Risk promised against kept, by name."""
    return {
        one.name: PromiseRecord(
            promised=finite(one.promised),
            kept=finite(one.kept),
            share_within=finite(one.share_within),
            by_construction=one.by_construction,
            held=one.kept_word == "kept",
        )
        for one in promised_against_kept(done.result, done.mandate)
    }


def _volatility(done: Realized) -> float | None:
    """Of the sessions on which anything was held: flat sessions would flatter it."""
    invested = np.abs(done.result.positions).sum(axis=1) > 0
    held = done.result.returns[1:][invested[:-1]]
    return None if held.size < 3 else float(held.std(ddof=1) * np.sqrt(done.result.sessions_per_year))
