"""Faults at the edge of the machine that no other test has: a name that does not resolve, second 60, a journal that somebody locks."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hedgefund_core.errors import BrokerUnavailable, JournalError
from hedgefund_core.layout import journal_file
from hedgefund_core.trading.events import TroubleSeen
from hedgefund_core.trading.observed import OrderSighting, QuoteSighting, UnknownUpdate
from live_executor.brokers.alpaca.broker import AlpacaBroker, AlpacaTiming
from live_executor.brokers.alpaca.endpoints import read_endpoints
from live_executor.brokers.alpaca.order_stream import OrderConversation
from live_executor.brokers.alpaca.wire import Unreadable, decimal_of, moment
from live_executor.clock import SystemClock
from live_executor.feeds.alpaca_stream import DataConversation
from live_executor.journals.sqlite import open_journal
from tests.alpaca_server.support import SHORT_REQUESTS, SHORT_STREAM, surroundings

KEYS = {"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}


def test_a_name_that_does_not_resolve_is_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def nowhere(host: str, *_more: object, **_named: object) -> list[object]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    endpoints = read_endpoints(KEYS | {"ALPACA_TRADING_URL": "http://broker.invalid:9"})

    async def ask() -> None:
        broker = AlpacaBroker(endpoints, surroundings(), timing=AlpacaTiming(requests=SHORT_REQUESTS, stream=SHORT_STREAM))
        try:
            await broker.account()
        finally:
            await broker.close()

    with pytest.raises(BrokerUnavailable):
        asyncio.run(ask())
    assert "broker.invalid" in asked


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400", pytest.param("9" * 5000, id="long"), 1e300, "many"])
def test_what_is_no_number_of_shares_or_money_cannot_be_read(value: str | float) -> None:
    with pytest.raises(Unreadable):
        decimal_of(value)


def test_second_sixty_is_the_second_before_and_never_ends_anything() -> None:
    assert moment("2026-12-31T23:59:60Z") == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert moment("2026-12-31T18:59:60.5-05:00") == datetime(2026, 12, 31, 23, 59, 59, 500000, tzinfo=UTC)
    assert moment("0001-01-01T00:00:00Z") is None
    with pytest.raises(Unreadable):
        moment("0001-01-01T00:00:00+05:00")
    orders = OrderConversation(read_endpoints(KEYS), SystemClock())
    told = b'{"stream":"trade_updates","data":{"event":"new","timestamp":"2026-12-31T23:59:60Z","order":{"id":"1","client_order_id":"c"}}}'
    (update,) = orders.read(told)
    assert isinstance(update, OrderSighting)
    prices = DataConversation("k", "s", ["AAPL"], SystemClock())
    row = '{"T":"q","S":"AAPL","bp":1.0,"ap":1.1,"t":"2026-12-31T23:59:%sZ"}'
    found = prices.read(f"[{row % '60'},{row % '59'}]".encode())
    assert {type(one) for one in found} == {UnknownUpdate, QuoteSighting}, "what cannot be read is said, and the rest of the frame is there"


def test_a_journal_that_somebody_locks_is_a_journal_that_cannot_be_written(own_house: Path) -> None:
    journal = open_journal(own_house / "data", own_house / "config" / "keys", "a")
    frame = TroubleSeen(ts=datetime(2026, 11, 24, 17, tzinfo=UTC), severity="warning", message="x")
    journal.append([frame])
    head = journal.head
    other = sqlite3.connect(own_house / "data" / journal_file("a"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalError, match="locked"):
        journal.append([frame])
    other.execute("ROLLBACK")
    other.close()
    assert journal.head == head
    with pytest.raises(JournalError):  # what failed once is not tried again: the executor starts anew
        journal.append([frame])
    journal.close()
