"""What can be read from the machine's state: marks, exposures, the inputs of a decision. All pure.

A state is never changed in place: every function returns a new one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from hedgefund_core.account_state import State, WindDown, column_of
from hedgefund_core.border import Marks, floats_of, in_millionths
from hedgefund_core.bundle import Bundle
from hedgefund_core.decision import DecisionInputs
from hedgefund_core.errors import DataInvalid
from hedgefund_core.live_inputs import LiveInputs
from hedgefund_core.quant.bars import FIELDS, Panel, PriceKind
from hedgefund_core.quant.features import latest_features
from hedgefund_core.quant.features.window import Window
from hedgefund_core.quant.portfolio.scaling import book_beta, book_returns, value_at_risk_of, volatility_of
from hedgefund_core.quant.return_history import ReturnHistory
from hedgefund_core.trading.events import (
    AccountMarked,
    BarsClosed,
    DecisionDue,
    DecisionMade,
    HistoryLoaded,
    ModelLoaded,
    OrdersIntended,
    Output,
    Row,
    SessionEnded,
)
from hedgefund_core.trading.instrument import SIX_PLACES, ZERO, Instruments, to_money, to_price
from hedgefund_core.trading.ledger import market_values, worth
from hedgefund_core.trading.order import Purpose, TimeInForce
from hedgefund_core.trading.state import Level

Floats = NDArray[np.float64]
ADV_SESSIONS = 20
__all__ = [
    "State", "check_weights", "column_of", "decayed_weights", "decision_inputs", "end_state_of", "history_of", "mark", "prices_of",
    "recalled", "rows_kept", "session_closed", "split_marks", "weights_of", "wind_down_of", "with_bars", "with_history",
]  # fmt: skip
_GRIDS = (*FIELDS, "dividends", "split_ratios")


def prices_of(state: State) -> dict[str, Decimal]:
    """Last good price of each instrument that has one."""
    pairs = zip(Instruments.of(state.instruments).ids, state.marks, strict=True)
    return {key: price for key, price in pairs if price is not None}


def weights_of(state: State) -> Floats:
    """Positions as signed fractions of equity: float64 (n,)."""
    held, prices = state.ledger.positions, prices_of(state) if state.ledger.positions else {}
    values = _column(state, {key: held[key].quantity * price for key, price in prices.items() if key in held})
    return _fractions(values, state.equity)


def _column(state: State, values: Mapping[str, Decimal]) -> Floats:
    """Float views by instrument, zero where there is none: (n,)."""
    return floats_of([values.get(key, ZERO) for key in Instruments.of(state.instruments).ids])


def _fractions(values: Floats, equity: Decimal) -> Floats:
    return values / float(equity) if equity > ZERO else np.zeros(len(values))


# ---- bars -------------------------------------------------------------------------------------------------------------


def _grid(names: Sequence[str], rows: Sequence[Row], n: int, session: str) -> Floats:
    """Rows of bars, (len(rows), n), each of the field that is named; NaN where there is no value.

    A value that is no number would be journaled as absent, so that a replay saw other bars than we did: it is refused here.
    """
    fits = all(len(cells) == n for cells in rows)
    values = _numbers(rows, n) if fits else np.empty((len(rows), n))
    least = np.array([-np.inf if name in {"volume", "dividends"} else 0.0 for name in names]).reshape(len(rows), 1)
    known = (values > least) & (values < np.inf)
    if fits and known.all():
        return values
    for name, cells, good in zip(names, rows, known.sum(axis=1).tolist(), strict=True):
        if len(cells) != n or good + cells.count(None) != n:
            message = f"{name} of session {session} has {len(cells)} values for {n} instruments, or one that is no number above zero"
            raise DataInvalid(message, mend="ingest and validate the source again")
    return values


def _numbers(rows: Sequence[Row], n: int) -> Floats:
    """Rows of ``n`` cells, (len(rows), n), NaN where there is none: ``struct`` needs half of numpy's time, but refuses a None."""
    try:
        packed = b"".join([struct.pack(f"{n}d", *cells) for cells in rows])
    except struct.error:
        return np.array(rows, dtype=np.float64).reshape(len(rows), n)
    return np.frombuffer(packed).reshape(len(rows), n)


def _panel(state: State, sessions: tuple[str, ...], fields: Mapping[str, Floats], benchmark: Floats | None) -> Panel:
    arrays: dict[str, Any] = dict(fields)  # Panel takes each field by name
    return Panel(
        sessions=np.array(sessions, dtype="datetime64[D]"),
        symbols=Instruments.of(state.instruments).symbols,
        price_kind=PriceKind(state.price_kind),
        benchmark=benchmark,
        source=state.source,
        sessions_per_year=state.sessions_per_year,
        **arrays,
    )


def with_history(state: State, event: HistoryLoaded) -> State:
    """Replace the ring by the given history; prices of held instruments keep their marks."""
    last = event.sessions[-1] if event.sessions else ""
    given = {name: rows for name in _GRIDS if (rows := getattr(event, name)) is not None}
    fields = {name: _grid((name,) * len(rows), rows, len(state.instruments), last) for name, rows in given.items()}
    benchmark = None if event.benchmark is None else np.array(event.benchmark, dtype=np.float64)
    ring = _panel(state, event.sessions, fields, benchmark)
    state = replace(state, window=Window.of(ring))
    if any(mark is not None for mark in state.marks):
        return state
    return _with_marks(state, [_last_known(ring.close[:, column]) for column in range(len(state.instruments))])


def _last_known(column: Floats) -> tuple[float | None, int]:
    known = np.flatnonzero(np.isfinite(column))
    return (float(column[known[-1]]), len(column) - 1 - int(known[-1])) if len(known) else (None, len(column))


def _with_marks(state: State, last: list[tuple[float | None, int]]) -> State:
    marks = tuple(None if price is None else to_price(price) for price, _ in last)
    return replace(state, marks=marks, mark_ages=tuple(age for _, age in last))


def with_bars(state: State, event: BarsClosed, keep: int) -> State:
    """Append a session to the ring and mark every instrument that has a bar; the others keep their last good price."""
    n, given = len(state.instruments), {name: cells for name in _GRIDS if (cells := getattr(event, name)) is not None}
    grid = _grid(tuple(given), tuple(given.values()), n, event.session)
    fields = dict(zip(given, grid[:, np.newaxis], strict=True))
    benchmark = _benchmark_row(state.ring, event.benchmark)
    row = _panel(state, (event.session,), fields, benchmark)
    window = Window.of(row) if state.window is None else state.window.extended(row, keep=keep)
    closes, splits, ages = row.close[0], event.split_ratios, [0] * n
    others = dict[int, Decimal | None]()
    for place in np.flatnonzero(np.isnan(closes)).tolist():
        others[place] = _restated(state, place, None if splits is None else splits[place])
        ages[place] = state.mark_ages[place] + 1
    return replace(state, window=window, marks=Marks.seen(closes, others), mark_ages=tuple(ages), restated=frozenset())


def _restated(state: State, place: int, ratio: float | None) -> Decimal | None:
    """A last price in new shares: the broker tells of splits of what is held, the bars tell of the others."""
    mark = state.marks[place]
    if mark is None or ratio is None or state.instruments[place].instrument_id in state.restated:
        return mark
    return to_price(float(mark) / ratio)


def session_closed(state: State) -> bool:
    """Whether the bars of the session that began last are known."""
    return state.ring is not None and len(state.ring.sessions) > 0 and str(state.ring.sessions[-1]) == state.session


def _benchmark_row(ring: Panel | None, level: float | None) -> Floats | None:
    """The benchmark's cell: the first bar says whether the account has one, a level missing later is NaN."""
    if ring is None:
        return None if level is None else np.array([level])
    return None if ring.benchmark is None else np.array([np.nan if level is None else level])


def rows_kept(state: State) -> int:
    """Sessions the ring must hold: the model's warm-up and the mandate's windows, one more for the first return."""
    windows = [ADV_SESSIONS]
    if state.mandate is not None:
        windows += [state.mandate.volatility_window, state.mandate.beta_window]
    if state.bundle is not None:
        windows.append(state.bundle.manifest.warm_up)
    return max(windows) + 1


def history_of(state: State) -> ReturnHistory:
    """Split-adjusted daily returns and the market's, from the ring."""
    if state.window is not None:
        return state.window.history
    return ReturnHistory(returns=np.zeros((0, len(state.instruments))), market=np.zeros(0))


# ---- the mark ---------------------------------------------------------------------------------------------------------


def with_flow(state: State) -> State:
    """Marks after money came or went since the last mark: neither a gain nor a loss."""
    flow = state.ledger.external_flow - state.external_flow
    if flow == ZERO:
        return state
    return replace(
        state,
        external_flow=state.ledger.external_flow,
        marked_equity=state.marked_equity + flow,
        high_water_mark=_after_flow(state.high_water_mark, state.marked_equity, flow),
        resume_mark=_after_flow(state.resume_mark, state.marked_equity, flow),
    )


def mark(state: State, event: BarsClosed | SessionEnded) -> tuple[State, AccountMarked, float]:
    """Value the account at a close: the new state, its record, and the day's return net of deposits."""
    value, values = _valued(state)
    state = with_flow(state)
    basis = state.marked_equity
    day_pnl = value - basis
    marked = replace(
        state,
        equity=value,
        marked_equity=value,
        marked=event.session,
        high_water_mark=max(state.high_water_mark, value),
        resume_mark=max(state.resume_mark, value),
        session=event.session,
    )
    record, volatility = _record(marked, event, day_pnl, _fractions(values, value))
    flat = marked.sessions_flat + 1 if marked.is_flat and marked.ladder.level is Level.FLATTENING else -1
    day_return = float(day_pnl / basis) if basis > ZERO else 0.0
    return replace(marked, expected_volatility=volatility, sessions_flat=flat), record, day_return


def _valued(state: State) -> tuple[Decimal, Floats]:
    """Equity, and the signed value of what is held of each instrument: (n,). Whole millionths are added as floats; else Decimals are."""
    ledger = state.ledger
    if not ledger.positions:
        return ledger.cash, np.zeros(len(state.instruments))
    if ledger.positions.keys() <= Instruments.of(state.instruments).places.keys():
        millionths = in_millionths(state.shares, Marks.of(state.marks))
        if millionths is not None and np.count_nonzero(millionths):
            return ledger.cash + SIX_PLACES * int(millionths.sum()), millionths / 1e6
    values = market_values(ledger, prices_of(state))
    return worth(ledger.cash, values.values()), _column(state, values)


def _after_flow(mark: Decimal, equity: Decimal, flow: Decimal) -> Decimal:
    """A high-water mark after money came or went: in proportion, so that a drawdown is neither hidden nor made by it."""
    if flow == ZERO or equity <= ZERO:
        return mark + flow
    return to_money(mark * (equity + flow) / equity)


def _record(state: State, event: BarsClosed | SessionEnded, day_pnl: Decimal, weights: Floats) -> tuple[AccountMarked, float]:
    history = history_of(state)
    volatility = var = beta = float("nan")
    if state.mandate is not None:
        moves = book_returns(weights, history.returns)
        volatility = volatility_of(moves[-state.mandate.volatility_window :], state.mandate.volatility_decay, state.sessions_per_year)
        beta = book_beta(weights, history.betas(state.mandate.beta_window))
        var = value_at_risk_of(moves)[0] + 0.0  # a flat book's -0.0 is zero
    record = AccountMarked(
        ts=event.ts,
        session=event.session,
        equity=state.equity,
        cash=state.ledger.cash,
        external_flow=state.ledger.external_flow,
        day_pnl=day_pnl,
        gross=float(np.abs(weights).sum()),
        net=float(weights.sum()),
        drawdown=float(1 - state.equity / state.high_water_mark) if state.high_water_mark > ZERO else 0.0,
        high_water_mark=state.high_water_mark,
        beta=_finite(beta),
        volatility=_finite(volatility),
        value_at_risk=_finite(var),
        weights=tuple(weights.tolist()),
        since_resume_drawdown=state.drawdown,
    )
    return record, volatility


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


# ---- a decision's inputs ------------------------------------------------------------------------------------------------


def decision_inputs(state: State, event: DecisionDue, purpose: Purpose, live: LiveInputs | None = None) -> DecisionInputs:
    """What a decision at ``event`` may know."""
    bundle = state.bundle if purpose is Purpose.MODEL else None
    n = len(state.instruments)
    ages = np.array(state.mark_ages, dtype=np.float64) if any(state.mark_ages) else np.zeros(n)
    features = np.zeros((n, 0))
    if bundle is not None and state.window is not None:
        features = latest_features(state.window, bundle.manifest.features)
    return DecisionInputs(
        account=state.account,
        book=state.book,
        session=event.session,
        for_session=event.for_session,
        decided_at=event.ts,
        time_in_force=TimeInForce(event.time_in_force),
        purpose=purpose,
        instruments=state.instruments,
        features=features,
        mask=_scorable(state, bundle, ages),
        history=history_of(state),
        prices=state.marks,
        bar_ages=ages,
        adv=_average_volume(state),
        equity=state.equity,
        cash=state.ledger.cash,
        positions={key: position.quantity for key, position in state.ledger.positions.items() if position.quantity},
        working=state.working,
        sent=frozenset(state.orders),
        frozen_instruments=frozenset(state.frozen),
        ladder=state.ladder,
        drawdown=state.drawdown,
        sessions_per_year=state.sessions_per_year,
        waived=state.waived,
        target_weights=_given(state, event, purpose),
        live=live,
    ).with_held(state.shares)


def _scorable(state: State, bundle: Bundle | None, ages: Floats) -> NDArray[np.bool_]:
    """Instruments with a bar of this session that the model was trained for."""
    fresh: NDArray[np.bool_] = ages == 0.0
    if bundle is None:
        return fresh
    return fresh & _of_universe(Instruments.of(state.instruments).symbols, bundle.manifest.universe)


@lru_cache(maxsize=16)
def _of_universe(symbols: tuple[str, ...], universe: tuple[str, ...]) -> NDArray[np.bool_]:
    """Whether a model was trained for each; kept, because both stay the same from session to session."""
    known = np.fromiter(map(set(universe).__contains__, symbols), dtype=np.bool_, count=len(symbols))
    known.flags.writeable = False  # it is handed to every caller
    return known


def _average_volume(state: State) -> Floats:
    if state.ring is None or state.ring.volume is None:
        return np.full(len(state.instruments), np.nan)
    window = state.ring.volume[-ADV_SESSIONS:]
    if len(window) < ADV_SESSIONS:
        return np.full(len(state.instruments), np.nan)
    average: Floats = window.sum(axis=0) / ADV_SESSIONS  # a session without a volume leaves none
    return average


def check_weights(state: State, event: DecisionDue) -> None:
    """Refuse weights from outside that are no numbers (the journal would hold them as absent) or name a stranger."""
    given = event.target_weights
    if not given:
        return
    wrong = sorted(key for key, weight in given.items() if not isfinite(weight))
    strangers = sorted(set(given) - {instrument.instrument_id for instrument in state.instruments})
    if wrong or strangers:
        what = "no number" if wrong else "not an instrument of the account"
        message = f"target weights of {', '.join((wrong or strangers)[:5])}: {what}"
        raise DataInvalid(message, mend="correct the target weights")


def end_state_of(state: State, event: DecisionDue) -> str:
    """What the mandate wants of the book of an expired model: hold, flatten or decay; empty while the model may trade."""
    given = event.target_weights is not None or event.target_quantities is not None
    if state.bundle is None or state.mandate is None or given or event.ts.date() <= state.bundle.manifest.expires_on():
        return ""
    return state.mandate.expiry_end_state


def wind_down_of(state: State) -> WindDown:
    """The book to be wound down: what was held at the first decision after the model's expiry."""
    if state.wind_down is not None and state.wind_down.digest == state.model_digest:
        return state.wind_down
    weights = zip(state.instruments, weights_of(state).tolist(), strict=True)
    return WindDown(digest=state.model_digest, weights={i.instrument_id: weight for i, weight in weights if weight})


def decayed_weights(state: State) -> Floats:
    """That book on a straight line to nothing: one step for each session after the expiry, over the mandate's number of them."""
    if state.bundle is None or state.mandate is None or state.ring is None:
        return np.zeros(len(state.instruments))
    over = int((state.ring.sessions > np.datetime64(state.bundle.manifest.expires_on(), "D")).sum())
    left = max(0.0, 1.0 - over / state.mandate.expiry_decay_sessions)
    book = wind_down_of(state).weights
    return np.array([left * book.get(instrument.instrument_id, 0.0) for instrument in state.instruments])


def _given(state: State, event: DecisionDue, purpose: Purpose) -> Floats | None:
    if purpose is Purpose.DECAY:
        return decayed_weights(state)
    return _given_weights(state, event) if purpose is Purpose.TARGETS else None


def _given_weights(state: State, event: DecisionDue) -> Floats:
    given = event.target_weights or {}
    return np.array([given.get(instrument.instrument_id, np.nan) for instrument in state.instruments], dtype=np.float64)


def split_marks(state: State, instrument_id: str, ratio: Decimal) -> State:
    """Restate the last price of a split instrument in new shares, so that equity does not jump."""
    marks = tuple(
        (price / ratio).quantize(SIX_PLACES) if price is not None and instrument.instrument_id == instrument_id else price
        for instrument, price in zip(state.instruments, state.marks, strict=True)
    )
    return replace(state, marks=marks, restated=state.restated | {instrument_id})


def recalled(state: State, event: ModelLoaded | DecisionDue, recorded: Iterable[Output]) -> State:
    """Fold an input whose decision cannot be made again, because its model's feature code is gone: the record is taken at its word.

    The model stays unusable (``state.bundle`` is None), so nothing new is decided with it; what it once ordered is kept.
    """
    if isinstance(event, ModelLoaded):
        return replace(state, model_digest=event.digest)
    for frame in recorded:
        if isinstance(frame, OrdersIntended):
            state = replace(state, orders={**state.orders, **{order.client_order_id: order for order in frame.orders}})
        elif isinstance(frame, DecisionMade):
            state = replace(state, decisions=state.decisions + 1)
    return state
