"""Alpaca's reference data and news: sessions, instruments, symbol changes, articles: reading them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta

import msgspec

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import KnownAtBasis
from hedgefund_dagster.sources.alpaca_pages import asked, asked_symbols, origin, refuse_other
from hedgefund_dagster.sources.http.content import json_of
from hedgefund_dagster.sources.http.rows import at, end_of
from hedgefund_dagster.sources.source import RawPayload

_EXCHANGE = "XNYS"
FIRST = date(2016, 1, 4)
"""The vendor's record begins here: a name that is older is not known to be."""
RENAMED = "renamed"


class _Session(msgspec.Struct, frozen=True):
    date: date
    open: str
    close: str


class _Asset(msgspec.Struct, frozen=True):
    id: str
    symbol: str
    name: str
    exchange: str
    status: str


class _Article(msgspec.Struct, frozen=True):
    id: int
    headline: str
    author: str | None
    created_at: datetime
    updated_at: datetime
    summary: str | None
    url: str | None
    symbols: list[str]
    source: str | None


class _News(msgspec.Struct, frozen=True):
    news: list[_Article]
    next_page_token: str | None


class _Change(msgspec.Struct, frozen=True):
    old_symbol: str
    old_cusip: str
    new_symbol: str
    new_cusip: str
    process_date: date


class _ChangeLists(msgspec.Struct, frozen=True):
    name_changes: list[_Change] = []


class _Changes(msgspec.Struct, frozen=True):
    corporate_actions: _ChangeLists
    next_page_token: str | None


def _observed(payload: RawPayload) -> dict[str, object]:
    """Times of what the vendor states without saying since when: it is known from when we saw it."""
    return {"ts": payload.retrieved_at, "known_at": payload.retrieved_at, "known_at_basis": KnownAtBasis.OBSERVED.value}


def _clock(payload: RawPayload, row: int, name: str, text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a bare time of day
    except ValueError as error:
        raise DataInvalid(f"{payload.origin}: row {row}, field `{name}`: {text!r} is no time like 09:30") from error


def check_sessions(payload: RawPayload) -> list[_Session]:
    """The sessions, each of a day that was asked for, each time a time."""
    sessions = json_of(payload, list[_Session])
    since, until = (date.fromisoformat(asked(payload, name)) for name in ("start", "end"))
    for row, session in enumerate(sessions, start=1):
        if not since <= session.date <= until:
            raise DataInvalid(f"{payload.origin}: row {row}, field `date`: {session.date} was not asked for")
        _clock(payload, row, "open", session.open)
        _clock(payload, row, "close", session.close)
    return sessions


def session_records(payload: RawPayload) -> Iterator[dict[str, object]]:
    """A row a session."""
    for row, session in enumerate(check_sessions(payload), start=1):
        yield {
            "exchange": _EXCHANGE,
            "session": session.date,
            **_observed(payload),
            "opens_at": at(session.date, _clock(payload, row, "open", session.open)),
            "closes_at": at(session.date, _clock(payload, row, "close", session.close)),
            **origin(payload, row),
        }


def check_assets(payload: RawPayload) -> list[_Asset]:
    """The instruments, all of them active."""
    assets = json_of(payload, list[_Asset])
    for row, asset in enumerate(assets, start=1):
        if asset.status != "active":
            raise DataInvalid(f"{payload.origin}: row {row}, field `status`: {asset.status!r} was not asked for")
    return assets


def asset_records(payload: RawPayload) -> Iterator[dict[str, object]]:
    """A row an instrument."""
    for row, asset in enumerate(check_assets(payload), start=1):
        said = {"instrument_id": asset.id, "symbol": asset.symbol, "name": asset.name, "exchange": asset.exchange or None}
        yield {**said, **_observed(payload), **origin(payload, row)}


def check_news(payload: RawPayload) -> _News:
    """The page, each article of a symbol asked for."""
    page = json_of(payload, _News)
    for row, article in enumerate(page.news, start=1):
        if not set(article.symbols) & set(asked_symbols(payload)):
            raise DataInvalid(f"{payload.origin}: row {row}, field `symbols`: {', '.join(article.symbols)[:100]!r} was not asked for")
        if article.created_at.tzinfo is None or article.updated_at.tzinfo is None:
            raise DataInvalid(f"{payload.origin}: row {row}, field `created_at` or `updated_at` has no time zone")
    return page


def article_records(payload: RawPayload) -> Iterator[dict[str, object]]:
    """A row an article and symbol that was asked for."""
    wanted = set(asked_symbols(payload))
    for row, article in enumerate(check_news(payload).news, start=1):
        said = {
            "article_id": str(article.id),
            "ts": article.created_at,
            "known_at": max(article.created_at, article.updated_at),
            "known_at_basis": KnownAtBasis.VENDOR.value,
            "headline": article.headline,
            "summary": article.summary or None,
            "author": article.author or None,
            "publisher": article.source or None,
            "url": article.url or None,
            **origin(payload, row),
        }
        yield from ({**said, "symbol": symbol} for symbol in article.symbols if symbol in wanted)


def check_changes(payload: RawPayload) -> _Changes:
    """The page, each change of a symbol asked for."""
    page = json_of(payload, _Changes)
    for change in page.corporate_actions.name_changes:
        refuse_other(payload, "old_symbol", change.old_symbol, change.new_symbol)
    return page


def change_records(payloads: Sequence[RawPayload]) -> Iterator[dict[str, object]]:
    """Two rows a change of symbol: the old name ends the day before, the new one begins. A CUSIP may change with the name."""
    stated = [
        (payload, row, change)
        for payload in payloads
        for row, change in enumerate(check_changes(payload).corporate_actions.name_changes, start=1)
        if change.old_symbol != change.new_symbol
    ]
    begun = {(change.new_cusip, change.new_symbol): change.process_date for _, _, change in stated}
    ended = {(change.old_cusip, change.old_symbol) for _, _, change in stated}
    for payload, row, change in stated:
        times = {
            "ts": at(change.process_date, time()),
            "known_at": end_of(change.process_date),
            "known_at_basis": KnownAtBasis.ASSUMED.value,
            "event": RENAMED,
            **origin(payload, row),
        }
        old = {"instrument_id": change.old_cusip, "symbol": change.old_symbol, "valid_until": change.process_date - timedelta(days=1)}
        yield {**old, "valid_from": begun.get((change.old_cusip, change.old_symbol), FIRST), "successor": change.new_cusip, **times}
        if (change.new_cusip, change.new_symbol) not in ended:
            yield {"instrument_id": change.new_cusip, "symbol": change.new_symbol, "valid_from": change.process_date, **times}
