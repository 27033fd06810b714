"""The order stream under its supervisor: it comes back, says so, never storms, and no message is lost to an exception."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.trading.observed import LinkChanged, LinkState, OrderSighting, UnknownUpdate
from live_executor.brokers.alpaca.endpoints import read_endpoints
from live_executor.brokers.alpaca.order_stream import OrderConversation
from live_executor.brokers.alpaca.wire import WireOrder
from live_executor.clock import SystemClock
from live_executor.streams import StreamEndedError, StreamTiming, Surroundings, WatchedStream
from tests.alpaca_server.acts import act
from tests.alpaca_server.faults import Fault
from tests.alpaca_server.server import AlpacaServer, Scenario
from tests.alpaca_server.support import SHORT_STREAM, an_order, broker_of, desk, listening, run
from tests.alpaca_server.trading import Settings

UP, DOWN, REFUSED = LinkState.UP, LinkState.DOWN, LinkState.REFUSED


def links(heard: list[Any]) -> list[LinkState]:
    return [update.state for update in heard if isinstance(update, LinkChanged)]


def words(heard: list[Any]) -> list[str]:
    return [update.event for update in heard if isinstance(update, OrderSighting)]


def is_up(heard: list[Any]) -> bool:
    return UP in links(heard)


def reasons(heard: list[Any]) -> str:
    return " | ".join(update.reason for update in heard if isinstance(update, LinkChanged))


def ended_with(event: str) -> Callable[[list[Any]], bool]:
    return lambda heard: event in words(heard)[-1:]


@pytest.mark.parametrize("frames", ["binary", "text"])
def test_the_life_of_an_order_in_either_kind_of_frame(frames: str) -> None:
    async def body() -> None:
        async with desk(Scenario(frames=frames, settings=Settings(slices=2))) as (_, broker), listening(broker.updates()) as listener:
            await listener.until(is_up)
            await broker.submit(an_order())
            heard = await listener.until(ended_with("fill"))
            assert words(heard) == ["pending_new", "new", "partial_fill", "fill"]
            part, whole = (update.fill for update in heard[-2:])
            assert (part.quantity, part.cumulative_quantity, whole.quantity, whole.cumulative_quantity) == (5, 5, 5, 10)
            assert whole.price == Decimal("100.01")
            assert part.execution_id != whole.execution_id
            assert heard[-1].status == "filled"

    run(body())


def test_the_rarer_events() -> None:
    async def body() -> None:
        scenario = Scenario(settings=Settings(autofill=False))
        async with desk(scenario) as (server, broker), listening(broker.updates()) as listener:
            await listener.until(is_up)
            for name in ("old", "day", "gone", "busted", "fixed"):
                await broker.submit(an_order(name))
            await listener.until(lambda heard: words(heard).count("new") == 5)
            act(server, {"do": "replace", "order": "old", "limit_price": "99.00", "client_order_id": "newer"})
            act(server, {"do": "status", "order": "day", "status": "done_for_day"})
            act(server, {"do": "status", "order": "gone", "status": "expired"})
            act(server, {"do": "fill", "order": "busted", "qty": "4"})
            act(server, {"do": "bust", "order": "busted"})
            act(server, {"do": "fill", "order": "fixed", "qty": "4"})
            act(server, {"do": "correct", "order": "fixed", "price": "99.50"})
            act(server, {"do": "external", "symbol": "MSFT", "side": "buy", "qty": "3"})
            heard = await listener.until(lambda heard: any(u.symbol == "MSFT" for u in heard if isinstance(u, OrderSighting)))
            seen = {(u.client_order_id, u.event): u for u in heard if isinstance(u, OrderSighting)}
            assert seen["old", "replaced"].replaced_by == seen["newer", "new"].broker_order_id
            assert seen["newer", "new"].replaces == seen["old", "replaced"].broker_order_id
            assert seen["day", "done_for_day"].status == "done_for_day"
            assert seen["gone", "expired"].status == "expired"
            bust = seen["busted", "trade_bust"]
            assert bust.fill is not None
            assert bust.fill.execution_id == seen["busted", "partial_fill"].fill.execution_id
            assert (bust.fill.quantity, bust.filled_quantity) == (4, 0)
            corrected = seen["fixed", "trade_correct"]
            assert corrected.fill is not None
            assert (corrected.fill.price, corrected.average_price) == (Decimal("99.5"), Decimal("99.5"))

    run(body())


def test_what_happens_behind_a_cancel() -> None:
    async def body() -> None:
        scenario = Scenario(settings=Settings(autofill=False))
        async with desk(scenario) as (server, broker), listening(broker.updates()) as listener:
            await listener.until(is_up)
            server.faults.arm(Fault(kind="fill_after_cancel", target="order", symbol="AAPL", qty="3"))
            server.faults.arm(Fault(kind="fill_on_cancel", target="order", symbol="MSFT"))
            server.faults.arm(Fault(kind="overfill", target="order", symbol="KO", qty="2"))
            for symbol in ("AAPL", "MSFT", "KO"):
                await broker.submit(an_order(symbol, symbol))
            await listener.until(lambda heard: words(heard).count("new") == 3)
            await broker.cancel_all()
            heard = await listener.until(lambda heard: words(heard).count("partial_fill") == 1 and words(heard).count("fill") == 2)
            late = [update for update in heard if isinstance(update, OrderSighting) and update.client_order_id == "AAPL"][-1]
            assert (late.status, late.event, late.filled_quantity) == ("canceled", "partial_fill", 3)
            over = [update for update in heard if isinstance(update, OrderSighting) and update.client_order_id == "KO"][-1]
            assert (over.quantity, over.filled_quantity) == (10, 12)

    run(body())


@pytest.mark.parametrize(("kind", "expected"), [("dup", 2), ("lost", 0), ("delay", 1), ("reorder", 1)])
def test_messages_twice_never_late_or_out_of_order(kind: str, expected: int) -> None:
    async def body() -> None:
        async with desk() as (server, broker), listening(broker.updates()) as listener:
            await listener.until(is_up)
            server.faults.arm(Fault(kind=kind, target="trade", skip=1, seconds=0.1))
            await broker.submit(an_order())
            heard = await listener.until(lambda heard: {"pending_new", "fill"} <= set(words(heard)))
            await listener.until(lambda heard: words(heard).count("new") == expected)
            if kind == "reorder":
                assert words(heard) == ["pending_new", "fill", "new"]
            assert links(heard) == [UP]

    run(body())


@pytest.mark.parametrize("kind", ["garbled", "odd_shape"])
def test_what_cannot_be_read_is_said_and_the_rest_goes_on(kind: str) -> None:
    async def body() -> None:
        async with desk() as (server, broker), listening(broker.updates()) as listener:
            await listener.until(is_up)
            server.faults.arm(Fault(kind=kind, target="trade", skip=1))
            await broker.submit(an_order())
            heard = await listener.until(ended_with("fill"))
            assert words(heard) == ["pending_new", "fill"]
            unknown = [update for update in heard if isinstance(update, UnknownUpdate)]
            assert len(unknown) == 1
            assert unknown[0].payload

    run(body())


@pytest.mark.parametrize(
    ("kind", "field", "word"), [("unknown_event", "event", "quantum_flux"), ("unknown_status", "status", "transmogrified")]
)
def test_unknown_words_are_kept(kind: str, field: str, word: str) -> None:
    async def body() -> None:
        async with desk() as (server, broker), listening(broker.updates()) as listener:
            await listener.until(is_up)
            server.faults.arm(Fault(kind=kind, target="trade"))
            await broker.submit(an_order())
            heard = await listener.until(ended_with("fill"))
            assert next(getattr(update, field) for update in heard if isinstance(update, OrderSighting)) == word

    run(body())


@pytest.mark.parametrize("kind", ["drop", "drop_mid_frame"])
def test_a_lost_connection_comes_back_and_says_so(kind: str) -> None:
    async def body() -> None:
        async with desk() as (server, broker), listening(broker.updates()) as listener:
            await listener.until(is_up)
            server.faults.arm(Fault(kind=kind, target="trade", skip=1))
            await broker.submit(an_order())
            heard = await listener.until(lambda heard: links(heard) == [UP, DOWN, UP])
            assert "fill" not in words(heard), "nothing of what happened in between is sent again"
            await broker.submit(an_order("c2"))
            await listener.until(ended_with("fill"))
            assert server.trade_hub.opened == 2

    run(body())


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        ({"kind": "no_auth_answer"}, DOWN, "no answer in time"),
        ({"kind": "unauthorized"}, REFUSED, "ALPACA_API_KEY"),
        ({"kind": "http", "status": 401}, REFUSED, "401"),
        ({"kind": "http", "status": 429}, DOWN, "429"),
        ({"kind": "http", "status": 503}, DOWN, "503"),
        ({"kind": "freeze"}, DOWN, "PONG"),
    ],
    ids=lambda value: str(value.get("kind")) + str(value.get("status", "")) if isinstance(value, dict) else "",
)
def test_a_link_that_does_not_become_ready_or_dies_in_silence(fault: dict[str, Any], state: LinkState, reason: str) -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            server.faults.arm(Fault(target="trade", **fault))
            broker = broker_of(server)
            async with listening(broker.updates()) as listener:
                heard = await listener.until(lambda heard: is_up(heard) and state in links(heard) and links(heard)[-1] is UP)
                assert links(heard)[0 if fault["kind"] != "freeze" else 1] is state
                assert reason in reasons(heard)
                assert "test-secret" not in reasons(heard)
            await broker.close()

    run(body())


def test_a_second_connection_refused_in_the_words_of_the_data_stream_is_a_refusal() -> None:
    async def body() -> None:
        async with AlpacaServer(Scenario(one_connection=True)) as server:
            first, second = broker_of(server), broker_of(server)
            async with listening(first.updates()) as holder, listening(second.updates()) as other:
                await holder.until(is_up)
                heard = await other.until(lambda heard: REFUSED in links(heard))
                assert "406 connection limit exceeded" in reasons(heard)
                await holder.stop()
                await other.until(is_up)
            await first.close()
            await second.close()

    run(body())


def test_a_server_that_does_not_answer_the_wish_to_listen_is_listened_to_all_the_same() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            server.faults.arm(Fault(kind="no_listen_answer", target="trade"))
            broker = broker_of(server)
            async with listening(broker.updates()) as listener:
                heard = await listener.until(is_up)
                assert [type(update) for update in heard] == [UnknownUpdate, LinkChanged]
            await broker.close()

    run(body())


def test_a_server_that_is_away_is_not_stormed() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            server.faults.arm(Fault(kind="http", target="trade", status=503, times=10_000))
            timing = msgspec.structs.replace(SHORT_STREAM, backoff_first=0.01, backoff_most=0.02, budget_connects=6, budget_seconds=30.0)
            broker = broker_of(server, stream=timing)
            async with listening(broker.updates()) as listener:
                await asyncio.sleep(0.6)
                assert server.trade_hub.opened == 6
                assert set(links(listener.heard)) == {DOWN}
            await broker.close()

    run(body())


def test_pauses_grow_with_jitter_up_to_a_bound() -> None:
    endpoints = read_endpoints({"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"})
    surroundings = Surroundings(clock=SystemClock(), rng=random.Random(7))
    timing = StreamTiming()
    stream = WatchedStream("ws://127.0.0.1:9", OrderConversation(endpoints, surroundings.clock), surroundings, timing=timing)
    pauses = []
    for failures in range(12):
        stream._failures = failures
        pauses.append([stream._pause() for _ in range(40)])
    assert all(0.25 <= pause <= 10.25 for row in pauses for pause in row)
    tries = timing.budget_seconds / (sum(pauses[11]) / len(pauses[11]))
    assert tries < timing.budget_connects, "the budget would make the end of a long outage be noticed late"
    assert max(pauses[0]) < 0.75 < max(pauses[2]) < max(pauses[11])
    assert len({round(pause, 6) for pause in pauses[11]}) == 40


def test_two_processes_never_share_a_key(tmp_path: Path) -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            first, second = broker_of(server, locks=tmp_path / "locks"), broker_of(server, locks=tmp_path / "locks")
            async with listening(second.updates()) as waiting:
                await waiting.until(is_up)
                async with listening(first.updates()) as holder:
                    heard = await holder.until(lambda heard: REFUSED in links(heard))
                    assert "another process" in reasons(heard)
                    await waiting.stop()
                    await holder.until(is_up)
            assert server.trade_hub.opened == 2
            await first.close()
            await second.close()

    run(body())


def test_a_disconnect_of_the_server_and_a_wanted_restart() -> None:
    async def body() -> None:
        async with desk() as (server, broker), listening(broker.updates()) as listener:
            await listener.until(is_up)
            act(server, {"do": "disconnect"})
            await listener.until(lambda heard: links(heard) == [UP, DOWN, UP])
            await broker.stream.restart("asked for")
            heard = await listener.until(lambda heard: links(heard) == [UP, DOWN, UP, DOWN, UP])
            assert "asked for" in reasons(heard)

    run(body())


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"[1]",
        b"[[[",
        b"null",
        b'{"stream":"trade_updates"}',
        b'{"stream":"trade_updates","data":{"event":"fill"}}',
        b'{"stream":"trade_updates","data":{"event":"fill","order":{"id":"1","filled_qty":"NaN"}}}',
        b'{"stream":"trade_updates","data":{"event":"fill","qty":"1","price":"x","order":{"id":"1"}}}',
        b'{"stream":"trade_updates","data":{"event":"fill","qty":"1","price":"0","order":{"id":"1"}}}',
        b'{"stream":"trade_updates","data":{"event":"partial_fill","qty":"-1","price":"9","order":{"id":"1"}}}',
        b'{"stream":"trade_updates","data":{"event":"new","timestamp":"yesterday","order":{"id":"1"}}}',
        b'{"stream":"something_new","data":{}}',
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"stream":"trade_updates","data":' + b"[" * 100_000, id="deep data"),
        pytest.param(
            b'{"stream":"trade_updates","data":{"order":{"id":"1","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}}", id="deep field"
        ),
    ],
)
def test_no_frame_raises(frame: bytes) -> None:
    conversation = OrderConversation(read_endpoints({"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}), SystemClock())
    (update,) = conversation.read(frame)
    assert isinstance(update, UnknownUpdate)


def test_an_answer_that_is_no_text_ends_the_link_and_not_the_run() -> None:
    conversation = OrderConversation(read_endpoints({"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}), SystemClock())
    with pytest.raises(StreamEndedError, match="unreadable answer"):
        conversation.read(b'{"stream":"authorization","data":{"status":"\xff"}}')


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["fill", "1.5", "NaN", "new"])
ORDERS = st.dictionaries(st.sampled_from(sorted(WireOrder.__struct_fields__)), SCALARS | st.lists(SCALARS, max_size=2), max_size=8)
UPDATES = st.fixed_dictionaries({"order": ORDERS}, optional=dict.fromkeys(("event", "timestamp", "qty", "price", "execution_id"), SCALARS))


@given(data=UPDATES | SCALARS | st.lists(SCALARS, max_size=3), cut=st.integers(0, 40))
def test_no_update_whatever_it_holds_raises(data: object, cut: int) -> None:
    conversation = OrderConversation(read_endpoints({"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}), SystemClock())
    whole = msgspec.json.encode({"stream": "trade_updates", "data": data})
    for frame in (whole, whole[: len(whole) - cut]):
        (update,) = conversation.read(frame)
        assert isinstance(update, OrderSighting | UnknownUpdate)
        if isinstance(update, OrderSighting):
            assert update.filled_quantity.is_finite()


def test_a_frame_may_be_a_list_of_messages() -> None:
    conversation = OrderConversation(read_endpoints({"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}), SystemClock())
    one = '{"stream":"trade_updates","data":{"event":"new","order":{"id":"%d","client_order_id":"c"}}}'
    first, odd, second = conversation.read(f"[{one % 1},null,{one % 2}]".encode())
    assert isinstance(odd, UnknownUpdate)
    assert [update.broker_order_id for update in (first, second) if isinstance(update, OrderSighting)] == ["1", "2"]


def test_a_bare_order_is_enough() -> None:
    conversation = OrderConversation(read_endpoints({"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}), SystemClock())
    raw = b'{"stream":"trade_updates","data":{"event":"NEW","order":{"id":"1","client_order_id":"c","qty":15,"filled_qty":0.5,"x":[1]}}}'
    (update,) = conversation.read(raw)
    assert isinstance(update, OrderSighting)
    assert (update.event, update.quantity, update.filled_quantity, update.limit_price) == ("new", 15, Decimal("0.5"), None)
