"""Alpaca's daily bars and corporate actions: reading them, of either feed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time

import msgspec

from hedgefund_core.errors import DataInvalid
from hedgefund_dagster.sources.alpaca_pages import refuse_other
from hedgefund_dagster.sources.http.content import json_of
from hedgefund_dagster.sources.http.rows import NEW_YORK
from hedgefund_dagster.sources.price_rows import DIVIDEND, SPLIT, ReadAction, ReadBar, finite
from hedgefund_dagster.sources.source import RawPayload


class _Bar(msgspec.Struct, frozen=True):
    t: datetime
    o: float
    h: float
    low: float = msgspec.field(name="l")
    c: float = msgspec.field()
    v: float = msgspec.field()


class _Bars(msgspec.Struct, frozen=True):
    bars: dict[str, list[_Bar]]
    next_page_token: str | None


class _Split(msgspec.Struct, frozen=True):
    id: str
    symbol: str
    ex_date: date
    new_rate: float
    old_rate: float


class _Payment(msgspec.Struct, frozen=True):
    id: str
    symbol: str
    ex_date: date
    rate: float


class _ActionLists(msgspec.Struct, frozen=True):
    forward_splits: list[_Split] = []
    reverse_splits: list[_Split] = []
    cash_dividends: list[_Payment] = []
    stock_dividends: list[_Payment] = []


class _Actions(msgspec.Struct, frozen=True):
    corporate_actions: _ActionLists
    next_page_token: str | None


def check_bars(payload: RawPayload) -> _Bars:
    """The page, each symbol asked for, each number a number, each bar stamped with a midnight: anything else is no daily bar."""
    page = json_of(payload, _Bars)
    for symbol, bars in page.bars.items():
        refuse_other(payload, "bars", symbol)
        for row, bar in enumerate(bars, start=1):
            if bar.t.tzinfo is None or bar.t.astimezone(NEW_YORK).time() != time():
                raise DataInvalid(f"{payload.origin}: row {row} of {symbol}, field `t`: {bar.t} is no midnight of New York")
            for name, value in (("o", bar.o), ("h", bar.h), ("l", bar.low), ("c", bar.c), ("v", bar.v)):
                finite(payload, row, name, value)
    return page


def read_bars(payload: RawPayload) -> Iterator[ReadBar]:
    """Bars of a page, by symbol."""
    stated = [(symbol, bar) for symbol, bars in check_bars(payload).bars.items() for bar in bars]
    for row, (symbol, bar) in enumerate(stated, start=1):
        values = {"open": bar.o, "high": bar.h, "low": bar.low, "close": bar.c, "volume": bar.v}
        yield ReadBar(payload=payload, row=row, symbol=symbol, session=bar.t.astimezone(NEW_YORK).date(), values=values)


def check_actions(payload: RawPayload) -> _Actions:
    """The page, each symbol asked for, each number a number."""
    page = json_of(payload, _Actions)
    for row, action in enumerate(_read_actions_of(payload, page), start=1):
        refuse_other(payload, "symbol", action.symbol)
        finite(payload, row, "rate", action.value)
    return page


def read_actions(payload: RawPayload) -> Iterator[ReadAction]:
    """Actions of a page."""
    return _read_actions_of(payload, check_actions(payload))


def _read_actions_of(payload: RawPayload, page: _Actions) -> Iterator[ReadAction]:
    """Splits as new shares per old; a stock dividend of a twentieth is a split of 1.05."""
    lists = page.corporate_actions
    for split in (*lists.forward_splits, *lists.reverse_splits):
        if not split.old_rate > 0.0:
            raise DataInvalid(f"{payload.origin}: the field `old_rate` of {split.symbol} {split.ex_date} is {split.old_rate}")
    stated: list[tuple[_Split | _Payment, str, float]] = [
        *((split, SPLIT, split.new_rate / split.old_rate) for split in (*lists.forward_splits, *lists.reverse_splits)),
        *((paid, SPLIT, 1.0 + paid.rate) for paid in lists.stock_dividends),
        *((paid, DIVIDEND, paid.rate) for paid in lists.cash_dividends),
    ]
    for row, (action, kind, value) in enumerate(stated, start=1):
        yield ReadAction(payload=payload, row=row, symbol=action.symbol, session=action.ex_date, kind=kind, value=value, ident=action.id)
