"""Prices from the data stream: what is refused, what comes back, and that one bad message takes no other along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.trading.observed import (
    BandSighting,
    BarSighting,
    Channel,
    HaltSighting,
    LinkChanged,
    LinkState,
    QuoteSighting,
    UnknownUpdate,
)
from live_executor.clock import SystemClock
from live_executor.feeds.alpaca_stream import DataConversation
from tests.alpaca_server.acts import act
from tests.alpaca_server.faults import Fault
from tests.alpaca_server.server import AlpacaServer, Scenario
from tests.alpaca_server.support import SHORT_STREAM, feed_of, listening, run

UP, DOWN, REFUSED = LinkState.UP, LinkState.DOWN, LinkState.REFUSED


def links(heard: list[Any]) -> list[LinkState]:
    return [update.state for update in heard if isinstance(update, LinkChanged)]


def kinds(heard: list[Any], kind: type) -> list[Any]:
    return [update for update in heard if isinstance(update, kind)]


def ups(count: int) -> Callable[[list[Any]], bool]:
    return lambda heard: links(heard).count(UP) == count


def has(kind: type, count: int = 1) -> Callable[[list[Any]], bool]:
    return lambda heard: len(kinds(heard, kind)) >= count


def test_quotes_trades_bars_halts_and_price_bands() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            assert feed.feed == "iex"
            await feed.subscribe(["AAPL", "MSFT"])
            async with listening(feed.updates()) as listener:
                await listener.until(ups(1))
                await asyncio.sleep(0.05)
                server.move({"AAPL": (Decimal("101.10"), Decimal("101.14")), "KO": (Decimal(1), Decimal(2))})
                act(server, {"do": "bars", "closes": {"AAPL": 101.5, "MSFT": 110.25, "KO": 7.0}})
                act(server, {"do": "halt", "symbol": "MSFT"})
                act(server, {"do": "halt", "symbol": "MSFT", "halted": False})
                act(server, {"do": "band", "symbol": "MSFT", "lower": 95.01, "upper": 0})
                act(server, {"do": "band", "symbol": "MSFT", "lower": 95.01, "upper": 104.99})
                heard = await listener.until(has(BandSighting))
                assert [(b.symbol, b.lower, b.upper) for b in kinds(heard, BandSighting)] == [("MSFT", Decimal("95.01"), Decimal("104.99"))]
                quote, trade = kinds(heard, QuoteSighting)
                assert (quote.symbol, quote.bid, quote.ask, quote.source) == ("AAPL", Decimal("101.1"), Decimal("101.14"), "quote")
                assert (trade.last, trade.source, trade.channel) == (Decimal("101.12"), "trade", Channel.STREAM)
                bars = kinds(heard, BarSighting)
                assert [(bar.symbol, bar.close, bar.resolution) for bar in bars] == [("AAPL", 101.5, "1m"), ("MSFT", 110.25, "1m")]
                assert 50 < (bars[0].at - quote.at).total_seconds() < 70, "a bar's time is its close"
                assert [halt.halted for halt in kinds(heard, HaltSighting)] == [True, False]
            await feed.close()

    run(body())


def test_symbols_are_added_while_running_and_kept_through_a_reconnect() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            async with listening(feed.updates()) as listener:
                await asyncio.sleep(0.05)
                assert server.data_hub.opened == 0, "nothing to follow, nothing to connect for"
                await feed.subscribe(["AAPL"])
                await listener.until(ups(1))
                await feed.subscribe(["AAPL", "KO"])
                await asyncio.sleep(0.1)
                act(server, {"do": "disconnect", "stream": "data"})
                await listener.until(ups(2))
                await asyncio.sleep(0.1)
                server.publish_quote("KO")
                heard = await listener.until(has(QuoteSighting, 2))
                assert {quote.symbol for quote in kinds(heard, QuoteSighting)} == {"KO"}
            await feed.close()

    run(body())


@pytest.mark.parametrize("code", [401, 402, 406, 409])
def test_a_refusal_is_said_to_be_one_and_asked_for_again_slowly(code: int) -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            server.faults.arm(Fault(kind="error", target="data", status=code, body="no", times=2))
            feed = feed_of(server)
            await feed.subscribe(["AAPL"])
            async with listening(feed.updates()) as listener:
                heard = await listener.until(ups(1))
                assert links(heard) == [REFUSED, REFUSED, UP]
                assert str(code) in heard[0].reason
            await feed.close()

    run(body())


@pytest.mark.parametrize("code", [404, 407])
def test_trouble_that_passes_is_a_reconnect(code: int) -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            await feed.subscribe(["AAPL"])
            async with listening(feed.updates()) as listener:
                await listener.until(ups(1))
                act(server, {"do": "data_error", "code": code, "msg": "slow client"})
                heard = await listener.until(ups(2))
                assert links(heard) == [UP, DOWN, UP]
            await feed.close()

    run(body())


def test_too_many_symbols_are_said_and_the_link_stays() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            await feed.subscribe(["AAPL"])
            async with listening(feed.updates()) as listener:
                await listener.until(ups(1))
                act(server, {"do": "data_error", "code": 405, "msg": "symbol limit exceeded"})
                heard = await listener.until(has(UnknownUpdate))
                assert "405 symbol limit exceeded" in heard[-1].what
                await asyncio.sleep(0.1)
                assert links(heard) == [UP]
            await feed.close()

    run(body())


def test_one_connection_a_key() -> None:
    async def body() -> None:
        async with AlpacaServer(Scenario(one_connection=True)) as server:
            first, second = feed_of(server), feed_of(server)
            for feed in (first, second):
                await feed.subscribe(["AAPL"])
            async with listening(first.updates()) as holder:
                await holder.until(ups(1))
                async with listening(second.updates()) as other:
                    heard = await other.until(lambda heard: REFUSED in links(heard))
                    assert UP not in links(heard), "two at once"
                    await holder.stop()
                    assert links(await other.until(ups(1)))[-1] is UP
            await first.close()
            await second.close()

    run(body())


def test_an_open_and_silent_link_is_noticed_while_data_are_due() -> None:
    async def body() -> None:
        due = False
        timing = msgspec.structs.replace(SHORT_STREAM, quiet=0.2)
        async with AlpacaServer() as server:
            feed = feed_of(server, stream=timing, data_due=lambda: due)
            await feed.subscribe(["AAPL"])
            async with listening(feed.updates()) as listener:
                await listener.until(ups(1))
                await asyncio.sleep(0.5)
                assert links(listener.heard) == [UP], "at night silence is no fault"
                due = True
                heard = await listener.until(ups(2))
                assert "mute" in heard[-2].reason
                server.faults.arm(Fault(kind="mute", target="data", seconds=30.0))
                server.publish_quote("AAPL")
                await listener.until(ups(3))
            await feed.close()

    run(body())


def test_at_night_too_a_stream_that_falls_silent_in_the_middle_is_noticed_once() -> None:
    async def body() -> None:
        timing = msgspec.structs.replace(SHORT_STREAM, quiet=0.3)
        async with AlpacaServer() as server:
            feed = feed_of(server, stream=timing, data_due=lambda: False)
            await feed.subscribe(["AAPL"])
            async with listening(feed.updates()) as listener:
                await listener.until(ups(1))
                await asyncio.sleep(0.05)
                for _ in range(15):
                    server.publish_quote("AAPL")
                heard = await listener.until(ups(2))
                assert "mute" in heard[-2].reason
                await asyncio.sleep(0.8)
                assert links(heard) == [UP, DOWN, UP]
            await feed.close()

    run(body())


@pytest.mark.parametrize(
    ("kind", "unknown", "quotes"), [("bad_element", 2, 1), ("unknown_event", 1, 1), ("odd_shape", 1, 0), ("garbled", 1, 0)]
)
def test_a_bad_message_takes_no_other_along(kind: str, unknown: int, quotes: int) -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            await feed.subscribe(["AAPL"])
            async with listening(feed.updates()) as listener:
                await listener.until(ups(1))
                await asyncio.sleep(0.05)
                server.faults.arm(Fault(kind=kind, target="data"))
                server.publish_quote("AAPL")
                heard = await listener.until(has(QuoteSighting, quotes + 1))
                assert len(kinds(heard, UnknownUpdate)) == unknown
                assert links(heard) == [UP]
            await feed.close()

    run(body())


@pytest.mark.parametrize("kind", ["no_auth_answer", "drop", "drop_mid_frame"])
def test_no_answer_and_broken_frames_are_a_reconnect(kind: str) -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            server.faults.arm(Fault(kind=kind, target="data"))
            await feed.subscribe(["AAPL"])
            async with listening(feed.updates()) as listener:
                await listener.until(lambda heard: UP in links(heard))
                await asyncio.sleep(0.05)
                server.publish_quote("AAPL")
                heard = await listener.until(lambda heard: DOWN in links(heard) and links(heard)[-1] is UP)
                assert links(heard) == ([DOWN, UP] if kind == "no_auth_answer" else [UP, DOWN, UP])
            await feed.close()

    run(body())


def test_a_server_that_sends_prices_and_no_answer() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            server.faults.arm(Fault(kind="no_listen_answer", target="data"))
            feed = feed_of(server)
            await feed.subscribe(["AAPL"])
            async with listening(feed.updates()) as listener:
                assert links(await listener.until(ups(1))) == [UP]
            await feed.close()

    run(body())


# ------------------------------------------------------------------------------------------------------------- queries
def test_a_channel_that_the_plan_lacks_ends_nothing() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            await feed.subscribe(["AAPL"])
            async with listening(feed.updates()) as listener:
                await listener.until(ups(1))
                act(server, {"do": "data_error", "code": 409, "msg": "insufficient subscription"})
                heard = await listener.until(has(UnknownUpdate))
                assert links(heard) == [UP]
            await feed.close()

    run(body())


def test_refused_keys() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            server.scenario.secret = "wrong"
            feed = feed_of(server)
            server.scenario.secret = "test-secret"
            with pytest.raises(DataUnavailable, match="refuses the credentials"):
                await feed.latest(["AAPL"])  # the account may be traded all the same: without prices nothing is added
            await feed.subscribe(["AAPL"])
            async with listening(feed.updates()) as listener:
                heard = await listener.until(lambda heard: REFUSED in links(heard))
                assert "402" in heard[0].reason
            await feed.close()

    run(body())


# ------------------------------------------------------------------------------------------------------------- frames
def conversation() -> DataConversation:
    return DataConversation("k", "s", {"AAPL"}, SystemClock())


def test_names_asked_for_while_the_server_answers_are_subscribed_to_all_the_same() -> None:
    symbols, sent = {"AAPL"}, list[str]()
    answers = iter([b'[{"T":"success","msg":"connected"}]', b'[{"T":"success","msg":"authenticated"}]', *[b'[{"T":"subscription"}]'] * 2])

    class Server:
        async def send(self, message: bytes | str) -> None:
            sent.append(str(message))

        async def receive(self) -> bytes:
            symbols.add("NVDA") if len(sent) > 1 else None
            return next(answers)

    run(DataConversation("k", "s", symbols, SystemClock()).greet(Server()))
    assert {symbol for symbol in symbols if any(f'"{symbol}"' in message for message in sent)} == {"AAPL", "NVDA"}


BAR = {"T": "b", "S": "AAPL", "o": 1.5, "h": 2, "l": 1, "c": 1.75, "v": 100, "n": 3, "vw": 1.6}


def test_messagepack_is_read_as_json_is() -> None:
    at = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
    packed = msgspec.msgpack.encode([{**BAR, "t": at}, {"T": "q", "S": "AAPL", "bp": 1.1, "ap": 1.2, "t": at}])
    text = msgspec.json.encode([{**BAR, "t": "2026-11-20T15:00:00.000000123Z"}, {"T": "q", "S": "AAPL", "bp": 1.1, "ap": 1.2, "t": at}])
    mine, theirs = conversation().read(packed), conversation().read(text)
    assert mine[0] == theirs[0]
    assert isinstance(mine[0], BarSighting)
    assert isinstance(mine[1], QuoteSighting)
    assert (mine[1].bid, mine[1].ask) == (Decimal("1.1"), Decimal("1.2"))


def test_a_time_without_a_zone_is_utc() -> None:
    rows = [{**BAR}, {"T": "q", "S": "AAPL", "bp": 1.1, "ap": 1.2}, {"T": "t", "S": "AAPL", "p": 1.1}, {"T": "s", "S": "AAPL", "sc": "H"}]
    rows += [{"T": "l", "S": "AAPL", "u": 2, "d": 1}]
    for frame in (rows, rows[:1]):
        said = conversation().read(msgspec.json.encode([{**row, "t": "2026-11-20T15:00:00"} for row in frame]))
        assert len(said) == len(frame)
        assert {update.at.replace(minute=0) for update in said} == {datetime(2026, 11, 20, 15, 0, tzinfo=UTC)}


def test_a_time_at_the_end_of_all_times_takes_no_other_row_along() -> None:
    far, good = {**BAR, "t": "9999-12-31T23:59:30Z"}, {**BAR, "t": "2026-11-20T15:00:00Z"}
    assert [type(update) for update in conversation().read(msgspec.json.encode([far, good]))] == [UnknownUpdate, BarSighting]


def test_numbers_as_text_are_read() -> None:
    (bar,) = conversation().read(msgspec.json.encode([{**BAR, "c": "1.75", "t": "2026-11-20T15:00:00Z"}]))
    assert isinstance(bar, BarSighting)
    assert bar.close == 1.75


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"{}",
        b"[[]]",
        b"[1,2",
        b'[{"T":"b"}]',
        b'[{"T":"q","S":"A","t":"x"}]',
        b'["\xff"]',
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_no_frame_raises(frame: bytes) -> None:
    said = conversation().read(frame)
    assert said
    assert all(isinstance(update, UnknownUpdate) for update in said)


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=6)
ROWS = st.dictionaries(st.sampled_from(["S", "t", "o", "h", "l", "c", "v", "bp", "ap", "p", "sc", "code", "msg"]), SCALARS, max_size=8)
KINDS = st.sampled_from(["b", "q", "t", "s", "x", "subscription", "success", "?"])


@given(rows=st.lists(st.tuples(KINDS, ROWS) | SCALARS, max_size=5), cut=st.integers(0, 30))
def test_no_rows_whatever_they_hold_raise_or_hide_a_good_one(rows: list[object], cut: int) -> None:
    good = {**BAR, "t": "2026-11-20T15:00:00Z"}
    mixed = [{**row[1], "T": row[0]} if isinstance(row, tuple) else row for row in rows]
    for encode in (msgspec.json.encode, msgspec.msgpack.encode):
        whole = encode([*mixed, good])
        said = conversation().read(whole)
        assert [bar.close for bar in said if isinstance(bar, BarSighting)][-1] == 1.75
        conversation().read(whole[: len(whole) - cut])


@pytest.mark.parametrize(
    ("code", "words", "expected"),
    [("H", "Trading Halt", True), ("P", "Volatility Trading Pause", True), ("2", "Trading Halt", True), ("T", "Trading Resumption", False),
     ("3", "Resume", False), ("Q", "Quotation Resumption", None), ("E", "Short Sale Restriction", None), ("Z", "Trading Halt News", True)],
)  # fmt: skip
def test_status_codes_of_both_tapes(code: str, words: str, expected: bool | None) -> None:
    status = {"T": "s", "S": "AAPL", "sc": code, "sm": words, "rc": "", "rm": "", "t": "2026-11-20T15:00:00Z", "z": "C"}
    said = conversation().read(msgspec.json.encode([status]))
    assert [update.halted for update in said if isinstance(update, HaltSighting)] == ([] if expected is None else [expected])
