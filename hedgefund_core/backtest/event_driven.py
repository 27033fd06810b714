"""The event-driven backtest: the live machine itself, driven over a panel with the simulated exchange in memory.

Every event is encoded as the journal would encode it and hashed into a chain, so that a run costs what trading costs
and its digest says whether two runs were the same. The vectorized engine is its tested twin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isfinite

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.account import State
from hedgefund_core.backtest import exchange
from hedgefund_core.backtest.fills import FillConvention, choose_fill
from hedgefund_core.errors import ConfigError
from hedgefund_core.machine import Command, Record, SubmitOrder, step
from hedgefund_core.quant.bars import FIELDS, Floats, Panel
from hedgefund_core.risk.limits import Costs, Mandate, digest_payload
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.order import TimeInForce

DECISION_DELAY = timedelta(minutes=15)
_CLOSE = timedelta(hours=21)
"""Close of a session whose panel carries no times: 21:00 UTC, labelled so by the basis `assumed`."""
_ROWS = (*FIELDS, "dividends", "split_ratios")


@dataclass(slots=True, kw_only=True)
class EventRun:
    """What a run leaves: state, outputs and the hash of its whole journal."""

    state: State
    frames: list[e.Output] = field(default_factory=list)
    fills: list[e.OrderFilled] = field(default_factory=list)
    digest: str = ""
    n_frames: int = 0
    equity: Floats
    positions: Floats

    def outputs(self, kind: type[e.Output]) -> list[e.Output]:
        """The outputs of one kind, in order."""
        return [frame for frame in self.frames if isinstance(frame, kind)]


def run_events(
    panel: Panel,
    target_weights: Floats,
    *,
    costs: Costs,
    limits: Mandate,
    fill: str = "next_open",
    initial_cash: float,
    waived: frozenset[str] | None = None,
) -> EventRun:
    """Trade target weights through ``machine.step``, risk rules and journal encoding.

    Parameters
    ----------
    panel, target_weights, costs, limits, fill, initial_cash, waived : as in ``run_target_weights``. Shares are whole, and a
        mandate is needed: the machine does not trade without limits.

    Returns
    -------
    EventRun with equity (n_sessions,), positions (n_sessions, n_symbols), every output frame and fill.

    Raises
    ------
    DataInvalid : next_open on a panel without opens. ConfigError : fill on the bar that was decided on.
    """
    convention = choose_fill(panel, fill)
    if convention is FillConvention.CLOSE:
        message = "the machine never fills on the bar that was decided on"
        raise ConfigError(message, mend="use fill='next_open' or 'next_close'; `close` exists in the vectorized engine only")
    driver = _Driver.begin(panel, costs, limits, convention, initial_cash, waived_rules(panel) if waived is None else waived)
    for row in range(panel.shape[0]):
        driver.session(row, target_weights[row])
    return driver.finish()


def waived_rules(panel: Panel) -> frozenset[str]:
    """Rules that cannot be evaluated on a panel because the field they need does not exist."""
    return frozenset({"order_quantity"}) if panel.volume is None else frozenset()


@dataclass(slots=True, kw_only=True)
class _Driver:
    """Feeds sessions to the machine and orders to the exchange."""

    panel: Panel
    market: exchange.Market
    time_in_force: TimeInForce
    run: EventRun
    book: exchange.Book
    known: frozenset[str]
    chain: bytes = b""

    @classmethod
    def begin(
        cls, panel: Panel, costs: Costs, mandate: Mandate, convention: FillConvention, initial_cash: float, waived: frozenset[str]
    ) -> _Driver:
        instruments = tuple(Instrument(instrument_id=symbol, symbol=symbol) for symbol in panel.symbols)
        cash = Decimal(str(initial_cash))
        shape = panel.shape
        driver = cls(
            panel=panel,
            market=exchange.Market(panel=panel, instruments=instruments, costs=costs),
            time_in_force=TimeInForce.OPG if convention is FillConvention.NEXT_OPEN else TimeInForce.CLS,
            run=EventRun(state=State(), equity=np.zeros(shape[0]), positions=np.zeros(shape)),
            book=exchange.Book(cash=cash),
            known=frozenset(panel.symbols),
        )
        at = close_time(panel, 0) - timedelta(days=1)
        opened = e.AccountOpened(
            ts=at,
            account="backtest",
            book=mandate.name,
            mode="backtest",
            broker="simulated",
            instruments=instruments,
            initial_cash=cash,
            source=panel.source,
            price_kind=panel.price_kind.value,
            sessions_per_year=panel.sessions_per_year,
        )
        payload = digest_payload(mandate)
        loaded = e.ConfigurationLoaded(
            ts=at, digest=hashlib.sha256(payload).hexdigest(), mandate=msgspec.Raw(payload), waived=tuple(sorted(waived))
        )
        driver.feed(opened)
        driver.feed(loaded)
        return driver

    def session(self, row: int, weights: Floats) -> None:
        """One session: fills, mark, triggers, decision."""
        label, closed = str(self.panel.sessions[row]), close_time(self.panel, row)
        self.feed(e.SessionBegan(ts=closed - timedelta(hours=7), session=label))
        self.turn(exchange.open_session(self.book, self.market, label, at=closed - timedelta(hours=6)))
        self.turn(exchange.close_session(self.book, self.market, label, at=closed))
        self.feed(bars_closed(self.panel, row))
        if self.run.state.stand_in_due:
            self.feed(e.StandInResumed(ts=closed + DECISION_DELAY, session=label))
        if row + 1 < self.panel.shape[0]:
            self.decide(row, weights, closed + DECISION_DELAY)
        self.run.equity[row] = float(self.run.state.equity)
        self.run.positions[row] = [float(self.run.state.ledger.quantity(symbol)) for symbol in self.panel.symbols]

    def decide(self, row: int, weights: Floats, at: datetime) -> None:
        """Ask for a decision where a row of weights is given; a flattening account decides at every session."""
        given = {symbol: float(weight) for symbol, weight in zip(self.panel.symbols, weights, strict=True) if np.isfinite(weight)}
        due = e.DecisionDue(
            ts=at,
            session=str(self.panel.sessions[row]),
            for_session=str(self.panel.sessions[row + 1]),
            time_in_force=self.time_in_force.value,
            rebalance=bool(given),
            target_weights=given or None,
        )
        for command in self.feed(due):
            if isinstance(command, SubmitOrder):
                self.turn(exchange.submit(self.book, command.order, self.known, at=at))

    def feed(self, event: e.Input) -> list[Command]:
        """Step the machine and write what a journal would hold."""
        self.run.state, commands = step(self.run.state, event)
        self.write(event)
        for command in commands:
            if isinstance(command, Record):
                self.write(command.frame)
                self.run.frames.append(command.frame)
        return commands

    def turn(self, turn: exchange.Turn) -> None:
        """Take the exchange's turn: its book, and its news to the machine."""
        self.book, news = turn
        for item in news:
            self.feed(item)
            if isinstance(item, e.OrderFilled):
                self.run.fills.append(item)

    def write(self, frame: e.Event) -> None:
        """Chain a frame's canonical bytes."""
        self.chain = hashlib.sha256(self.chain + e.encode(frame)).digest()
        self.run.n_frames += 1

    def finish(self) -> EventRun:
        self.run.digest = self.chain.hex()
        return self.run


def close_time(panel: Panel, row: int) -> datetime:
    """UTC close of a session, assumed where the panel carries none."""
    if panel.close_at is not None:
        return utc(panel.close_at[row])
    return utc(panel.sessions[row]) + _CLOSE


def utc(moment: np.datetime64) -> datetime:
    """An aware datetime from numpy's, which counts in UTC."""
    microseconds = int(moment.astype("datetime64[us]").astype(np.int64))
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def bars_closed(panel: Panel, row: int) -> e.BarsClosed:
    """The event of a session's bars: what the machine may know once they are out."""
    closed = close_time(panel, row)
    known_at = closed + DECISION_DELAY if panel.known_at is None else utc(panel.known_at[row])
    rows = {name: row_of(getattr(panel, name), row) for name in _ROWS}
    close = rows.pop("close")
    return e.BarsClosed(
        ts=closed,
        session=str(panel.sessions[row]),
        known_at=known_at,
        data_version=panel.data_version,
        close=() if close is None else close,
        benchmark=None if panel.benchmark is None or not np.isfinite(panel.benchmark[row]) else float(panel.benchmark[row]),
        **rows,
    )


def history_loaded(panel: Panel, *, at: datetime) -> e.HistoryLoaded:
    """The event of the bars before the first traded session."""
    grids = {name: _grid(getattr(panel, name)) for name in _ROWS}
    close = grids.pop("close")
    benchmark = None if panel.benchmark is None else tuple(_cells(panel.benchmark))
    return e.HistoryLoaded(
        ts=at,
        data_version=panel.data_version,
        sessions=tuple(str(session) for session in panel.sessions),
        close=() if close is None else close,
        benchmark=benchmark,
        **grids,
    )


def row_of(grid: Floats | None, row: int) -> e.Row | None:
    """A row as the journal holds it: null where a value is absent."""
    return None if grid is None else tuple(_cells(grid[row]))


def _grid(grid: Floats | None) -> tuple[e.Row, ...] | None:
    return None if grid is None else tuple(tuple(_cells(row)) for row in grid)


def _cells(values: NDArray[np.float64]) -> Iterator[float | None]:
    return (value if isfinite(value) else None for value in values.tolist())
