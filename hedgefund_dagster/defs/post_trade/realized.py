"""What an account really did, folded from its journal into the same shape a backtest has: one report serves both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec
import numpy as np

from hedgefund_core.backtest.episode import LAST_SCALERS
from hedgefund_core.backtest.result import FILL_FIELDS, BacktestResult, Denial, LimitTrace, Records
from hedgefund_core.errors import DataUnavailable, JournalError
from hedgefund_core.quant.bars import Floats
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.trading import events as e
from hedgefund_core.trading.ledger import EXTERNAL_FLOWS, CashKind
from hedgefund_core.trading.order import Order, Side
from hedgefund_core.trading.state import Level


@dataclass(slots=True, kw_only=True)
class Fold:
    """Facts of a journal as they come; a session closes with its mark."""

    opened: e.AccountOpened | None = None
    mandate: Mandate | None = None
    quantities: dict[str, float] = field(default_factory=dict)
    closes: dict[str, float] = field(default_factory=dict)
    marks: list[e.AccountMarked] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    prices: list[list[float]] = field(default_factory=list)
    benchmark: list[float] = field(default_factory=list)
    fills: list[e.OrderFilled] = field(default_factory=list)
    cash: list[e.CashPosted] = field(default_factory=list)
    decisions: list[e.DecisionMade] = field(default_factory=list)
    intended: dict[str, Order] = field(default_factory=dict)
    denied: list[Order] = field(default_factory=list)
    ladder: list[tuple[str, str]] = field(default_factory=list)
    splits: list[e.SplitProcessed] = field(default_factory=list)
    models: list[e.ModelLoaded] = field(default_factory=list)
    stand_ins: int = 0
    level: int = 0
    levels: list[int] = field(default_factory=list)
    reconciled: list[e.Reconciled] = field(default_factory=list)
    last_benchmark: float = float("nan")

    def take(self, frame: e.Frame) -> None:  # noqa: C901, PLR0912 - one line a kind of frame
        """Add one frame."""
        match frame:
            case e.AccountOpened():
                self.opened = frame
            case e.ConfigurationLoaded():
                self.mandate = msgspec.json.decode(bytes(frame.mandate), type=Mandate)
            case e.ModelLoaded():
                self.models.append(frame)
            case e.HistoryLoaded() if frame.has_prices:
                for row in frame.close:
                    self._closed(row)
            case e.BarsClosed():
                self._closed(frame.close)
                self.last_benchmark = self.last_benchmark if frame.benchmark is None else frame.benchmark
            case e.OrdersIntended():
                self.intended.update({order.client_order_id: order for order in frame.orders})
            case e.OrdersDenied():
                self.denied.extend(frame.orders)
            case e.OrderFilled():
                self._filled(frame)
            case e.CashPosted():
                self.cash.append(frame)
            case e.SplitProcessed():
                self.splits.append(frame)
                self.quantities[frame.instrument_id] = float(frame.quantity_after)
                self.closes[frame.instrument_id] = self.closes.get(frame.instrument_id, np.nan) / float(frame.ratio)
            case e.DecisionMade():
                self.decisions.append(frame)
            case e.LadderMoved():
                self.ladder.append((frame.session, frame.after))
                self.level = int(Level[frame.after.upper()])
            case e.StandInResumed():
                self.stand_ins += 1
            case e.Reconciled():
                self.reconciled.append(frame)
            case e.AccountMarked():
                self._marked(frame)
            case _:
                pass  # the life of single orders is the executor's business

    def _keys(self) -> list[str]:
        if self.opened is None:
            raise JournalError("the journal does not begin with an opened account", mend="executor audit verify")
        return [instrument.instrument_id for instrument in self.opened.instruments]

    def _closed(self, row: e.Row) -> None:
        for key, close in zip(self._keys(), row, strict=True):
            if close is not None:
                self.closes[key] = close

    def _filled(self, fill: e.OrderFilled) -> None:
        order = self.intended.get(fill.client_order_id)
        if order is None:
            raise JournalError(f"fill {fill.fill_id} belongs to no order of the journal", mend="executor audit verify")
        self.fills.append(fill)
        signed = float(fill.quantity) * order.side.sign
        self.quantities[order.instrument_id] = self.quantities.get(order.instrument_id, 0.0) + signed

    def _marked(self, mark: e.AccountMarked) -> None:
        self.marks.append(mark)
        self.positions.append([self.quantities.get(key, 0.0) for key in self._keys()])
        self.prices.append([self.closes.get(key, np.nan) for key in self._keys()])
        self.benchmark.append(self.last_benchmark)
        self.levels.append(self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Realized:
    """An account's record: ``result`` in the shape of a backtest, and what only a journal knows."""

    account: str
    source: str
    mandate: Mandate
    result: BacktestResult
    fold: Fold
    denied_by: dict[str, int]
    max_drawdown_true: float
    max_drawdown_since_resume: float


def realized(frames: Iterable[e.Frame]) -> Realized:
    """Fold a journal.

    Raises
    ------
    DataUnavailable : the account has not closed a session yet.
    """
    fold = Fold()
    for frame in frames:
        fold.take(frame)
    if fold.opened is None or fold.mandate is None or not fold.marks:
        raise DataUnavailable("the account has not closed a session yet", mend="executor run")
    result = _result(fold, fold.opened, fold.mandate)
    peaks = np.maximum.accumulate(np.concatenate([[result.initial_cash], result.equity]))
    return Realized(
        account=fold.opened.account,
        source=fold.opened.source,
        mandate=fold.mandate,
        result=result,
        fold=fold,
        denied_by=dict(Counter(order.denied_by or "unknown" for order in fold.denied)),
        max_drawdown_true=float((1.0 - np.concatenate([[result.initial_cash], result.equity]) / peaks).max()),
        max_drawdown_since_resume=max(mark.since_resume_drawdown for mark in fold.marks),
    )


def _result(fold: Fold, opened: e.AccountOpened, mandate: Mandate) -> BacktestResult:
    sessions = np.array([mark.session for mark in fold.marks], dtype="datetime64[D]")
    place = {mark.session: row for row, mark in enumerate(fold.marks)}
    symbols = tuple(instrument.symbol for instrument in opened.instruments)
    columns = {instrument.instrument_id: column for column, instrument in enumerate(opened.instruments)}
    benchmark = np.array(fold.benchmark)
    borrow, income = np.zeros(len(sessions)), np.zeros(len(sessions))
    for line in fold.cash:
        if line.session in place and line.cash_kind is CashKind.BORROW:
            borrow[place[line.session]] -= float(line.amount)
        elif line.session in place and line.cash_kind not in EXTERNAL_FLOWS:
            income[place[line.session]] += float(line.amount)
    for split in fold.splits:
        if split.session in place:
            income[place[split.session]] += float(split.cash_in_lieu)
    fill = "next_open" if any(order.time_in_force.value == "opg" for order in fold.intended.values()) else "next_close"
    return BacktestResult(
        sessions=sessions,
        symbols=symbols,
        sessions_per_year=opened.sessions_per_year,
        fill=fill,
        costs=mandate.costs,
        initial_cash=float(opened.initial_cash),
        equity=np.array([float(mark.equity) for mark in fold.marks]),
        cash=np.array([float(mark.cash) for mark in fold.marks]),
        positions=np.array(fold.positions),
        marks=np.array(fold.prices),
        fills=_fills(fold, place, columns),
        borrow=borrow,
        income=income,
        benchmark=benchmark if np.isfinite(benchmark).any() else None,
        denied=tuple(_denial(order, place) for order in fold.denied),
        trace=_trace(fold, mandate, place),
    )


def _fills(fold: Fold, place: dict[str, int], columns: dict[str, int]) -> Records:
    known = [fill for fill in fold.fills if fill.session in place]
    table = np.zeros(len(known), dtype=FILL_FIELDS)
    for row, fill in enumerate(known):
        order = fold.intended[fill.client_order_id]
        table[row] = (
            place[fill.session],
            columns[order.instrument_id],
            order.side.sign,
            float(fill.quantity),
            float(fill.price),
            float(fill.commission),
        )
    return table


def _denial(order: Order, place: dict[str, int]) -> Denial:
    sign = 1 if order.side is Side.BUY else -1
    return Denial(
        session=place.get(order.session, len(place) - 1),
        symbol=order.symbol,
        side=sign,
        quantity=float(order.quantity),
        rule=order.denied_by,
        reason=order.reason,
    )


def _trace(fold: Fold, mandate: Mandate, place: dict[str, int]) -> LimitTrace:
    n = len(fold.marks)
    names = sorted({scaler.name for decision in fold.decisions for scaler in decision.scalers})
    scales, measured = ({name: np.full(n, np.nan) for name in names} for _ in range(2))
    decided, capped = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    for decision in fold.decisions:
        row = place.get(decision.session)
        if row is None:
            continue
        decided[row] = True
        capped[row] = any(scaler.scale < 1.0 for scaler in decision.scalers) or not all(decision.judgements.allowed)
        for scaler in decision.scalers:
            scales[scaler.name][row] = scaler.scale
            measured[scaler.name][row] = np.nan if scaler.measured is None else scaler.measured
        for name, value in _book(decision).items():
            measured.setdefault(name, np.full(n, np.nan))[row] = value
    return LimitTrace(
        mandate=mandate.name,
        ladder=np.array(fold.levels, dtype=np.int8),
        drawdown=np.array([mark.since_resume_drawdown for mark in fold.marks]),
        volatility=_optional([mark.volatility for mark in fold.marks]),
        scales=scales,
        measured=measured,
        decided=decided,
        capped=capped,
        stand_ins=fold.stand_ins,
    )


def _book(decision: e.DecisionMade) -> dict[str, float]:
    """Ex-ante risk of the book that came out of the scalers, under the names a backtest gives it."""
    held = np.nan_to_num(np.frombuffer(decision.target_weights, dtype="<f8"))
    book = {"gross_decided": float(np.abs(held).sum()), "net_decided": float(held.sum())}
    book["largest_decided"] = float(np.abs(held).max(initial=0.0))
    last = decision.scalers[-LAST_SCALERS:]
    left = min((scaler.scale for scaler in last), default=np.nan)
    for name, scaler in zip(("volatility_decided", "beta_decided"), last, strict=False):
        book[name] = np.nan if scaler.measured is None else scaler.measured * left
    return book


def _optional(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def drift_bps(fold: Fold) -> float | None:
    """Mean signed move from the price decided on to the fill, weighted by notional, in basis points; positive = it cost."""
    total, cost = Decimal(0), Decimal(0)
    for fill in fold.fills:
        order = fold.intended[fill.client_order_id]
        total += fill.quantity * order.reference_price
        cost += fill.quantity * (fill.price - order.reference_price) * order.side.sign
    return None if not total else float(cost / total * 10_000)
