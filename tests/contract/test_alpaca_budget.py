"""The client's side of Alpaca's limit, on virtual time: a rebalance is in within minutes, a fifth stays unused, nothing is refused."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Protocol

import async_solipsism
import pytest

from hedgefund_core.errors import BrokerUnavailable
from live_executor.brokers.alpaca.budget import Budget, Lane
from tests.alpaca_server.support import run

LIMIT = 200


class Server(Protocol):
    """A server's limit: allowed or not, and the headers of the answer."""

    def ask(self, now: float) -> tuple[bool, dict[str, str]]: ...


class Windows:
    """So many requests in each minute of the clock."""

    def __init__(self) -> None:
        self.minute, self.used, self.most = -1.0, 0, 0

    def ask(self, now: float) -> tuple[bool, dict[str, str]]:
        minute = math.floor(now / 60)
        if minute != self.minute:
            self.minute, self.used = minute, 0
        self.used += 1
        self.most = max(self.most, self.used)
        left = max(LIMIT - self.used, 0)
        headers = {"X-RateLimit-Limit": str(LIMIT), "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": str((minute + 1) * 60)}
        return self.used <= LIMIT, headers


class Bucket:
    """A bucket that fills evenly; its header of reset names the next second."""

    def __init__(self) -> None:
        self.left, self.as_of, self.seen = float(LIMIT), 0.0, deque[float]()
        self.most = 0

    def ask(self, now: float) -> tuple[bool, dict[str, str]]:
        self.left = min(self.left + (now - self.as_of) * LIMIT / 60, LIMIT)
        self.as_of = now
        allowed = self.left >= 1
        self.left -= 1 if allowed else 0
        headers = {"X-RateLimit-Limit": str(LIMIT), "X-RateLimit-Remaining": str(int(self.left)), "X-RateLimit-Reset": str(int(now) + 1)}
        return allowed, headers


class Empty:
    """It allows everything, and says of every window that nothing is left of it."""

    def __init__(self, ahead: float | None) -> None:
        self._ahead, self.asked = ahead, list[float]()

    def ask(self, now: float) -> tuple[bool, dict[str, str]]:
        self.asked.append(now)
        reset = {} if self._ahead is None else {"X-RateLimit-Reset": str(int(now + self._ahead))}
        return True, {"X-RateLimit-Limit": str(LIMIT), "X-RateLimit-Remaining": "0", **reset}


class Wordless(Windows):
    """It says nothing of its limit, not even when it refuses."""

    def ask(self, now: float) -> tuple[bool, dict[str, str]]:
        return super().ask(now)[0], {}


def virtually(work: Coroutine[None, None, None]) -> None:
    loop = async_solipsism.EventLoop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


async def send(server: Server, budget: Budget, lane: Lane, rng: random.Random, refused: list[Lane]) -> None:
    await budget.enter(lane, 600.0)
    await asyncio.sleep(rng.uniform(0.01, 0.2))
    allowed, headers = server.ask(asyncio.get_running_loop().time())
    if not allowed:
        refused.append(lane)
        budget.refused(headers)
    await asyncio.sleep(rng.uniform(0.01, 0.2))
    budget.leave(headers, allowed=allowed)


async def rebalance(make: Callable[[], Server], names: int, seed: int) -> tuple[float, float, list[Lane]]:
    """Seconds until all entries are in, the longest wait of a cancel meanwhile, and what was refused."""
    loop, server, rng = asyncio.get_running_loop(), make(), random.Random(seed)
    budget, refused, waits = Budget(now=loop.time), list[Lane](), list[float]()

    async def meanwhile(lane: Lane, every: float) -> None:
        while True:
            began = loop.time()
            await send(server, budget, lane, rng, refused)
            if lane is Lane.CANCEL:
                waits.append(loop.time() - began)
            await asyncio.sleep(every)

    await asyncio.sleep(rng.uniform(0, 60))
    await send(server, budget, Lane.READ, rng, refused)
    others = [asyncio.create_task(meanwhile(lane, every)) for lane, every in ((Lane.READ, 5.0), (Lane.CANCEL, 7.0))]
    began = loop.time()
    await asyncio.gather(*(send(server, budget, Lane.ENTER, rng, refused) for _ in range(names)))
    took = loop.time() - began
    for task in others:
        task.cancel()
    return took, max(waits), refused


@pytest.mark.parametrize("make", [Windows, Bucket])
@pytest.mark.parametrize(("names", "most"), [(20, 30.0), (500, 300.0)])
def test_a_rebalance_is_in_in_time_and_nothing_is_refused(make: Callable[[], Server], names: int, most: float) -> None:
    for seed in range(5):
        loop = async_solipsism.EventLoop()
        try:
            took, longest, refused = loop.run_until_complete(rebalance(make, names, seed))
        finally:
            loop.close()
        assert took <= most
        assert refused == []
        assert longest <= 1.0, "a cancel never waits for entries"


@pytest.mark.parametrize("ahead", [1.0, 0.0, -30.0, None])
def test_a_server_that_never_has_anything_left_is_asked_at_our_own_pace(ahead: float | None) -> None:
    server, loop = Empty(ahead), async_solipsism.EventLoop()
    try:
        took, _, _ = loop.run_until_complete(rebalance(lambda: server, 60, 3))
    finally:
        loop.close()
    assert took < 60.0
    assert max(sum(first <= at < first + 60.0 for at in server.asked) for first in server.asked) <= LIMIT


def test_a_fifth_of_each_window_stays_unused_by_entries() -> None:
    async def only_entries() -> int:
        loop, server, rng, refused = asyncio.get_running_loop(), Windows(), random.Random(3), list[Lane]()
        budget = Budget(now=loop.time)
        await send(server, budget, Lane.READ, rng, refused)
        await asyncio.gather(*(send(server, budget, Lane.ENTER, rng, refused) for _ in range(500)))
        return server.most

    loop = async_solipsism.EventLoop()
    try:
        assert loop.run_until_complete(only_entries()) <= LIMIT * 0.8 + 1
    finally:
        loop.close()


def test_who_goes_first_when_all_have_to_wait() -> None:
    async def body() -> None:
        budget, went = Budget(now=lambda: 0.0, most_in_flight=8), list[str]()
        for _ in range(8):
            await budget.enter(Lane.CANCEL, 1.0)

        async def ask(lane: Lane, name: str) -> None:
            await budget.enter(lane, 2.0)
            went.append(name)
            budget.leave()

        tasks = [
            asyncio.create_task(ask(lane, name))
            for lane, name in ((Lane.ENTER, "entry"), (Lane.REDUCE, "exit"), (Lane.READ, "read"), (Lane.CANCEL, "cancel"))
        ]
        await asyncio.sleep(0)
        for _ in range(8):
            budget.leave()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert went == ["cancel", "read", "exit", "entry"]
        assert budget.in_flight == 0

    run(body())


def test_pauses_after_refusals_grow_but_not_for_cancels() -> None:
    async def body() -> None:
        budget = Budget(now=lambda: 1000.0)
        for pause in (1.0, 2.0, 2.0):
            for _ in range(20):  # many at the same time are one
                budget.refused({})
            assert pause - 0.1 < budget.delay(Lane.READ) <= pause
            assert budget.delay(Lane.CANCEL) <= 1.0
            await asyncio.sleep(pause)
        budget.refused({})
        budget.refused({"X-RateLimit-Reset": "1030"})
        assert 29 < budget.delay(Lane.CANCEL) < 31
        budget.in_flight += 1
        budget.leave({"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "199", "X-RateLimit-Reset": "1060"})
        assert budget.available(Lane.ENTER) == 159
        assert budget.available(Lane.CANCEL) == 199

    virtually(body())


def test_a_server_without_words_is_asked_by_one_request_until_it_allows_again() -> None:
    async def body() -> None:
        loop, server, rng, refused = asyncio.get_running_loop(), Wordless(), random.Random(4), list[Lane]()
        budget, sent = Budget(now=loop.time), list[float]()

        async def insist() -> None:
            mine: list[Lane] = [Lane.ENTER]
            while mine:
                mine.clear()
                await send(server, budget, Lane.ENTER, rng, mine)
                refused.extend(mine)
            sent.append(loop.time())

        await asyncio.sleep(13.0)
        await asyncio.gather(*(insist() for _ in range(2 * LIMIT)))
        assert min(at for at in sent if at > 60.0) < 60.0 + 6.0
        assert len(refused) < 60, "those on their way when it began, then one every few seconds"

    virtually(body())


def test_a_refusal_costs_no_more_than_the_pause_that_it_names() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        budget = Budget(now=loop.time)
        await budget.enter(Lane.READ, 1.0)
        budget.leave({"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "180", "X-RateLimit-Reset": str(loop.time() + 55)})
        at = datetime.fromtimestamp(math.ceil(loop.time()) + 6, UTC)
        dated = {"Retry-After": format_datetime(at, usegmt=True)}
        for headers, least, most in (({"Retry-After": "2"}, 1.9, 2.1), ({}, 0.9, 1.1), (dated, 0.5, 4.1)):
            await budget.enter(Lane.READ, 60.0)
            budget.refused(headers)
            budget.leave(headers, allowed=False)
            began = loop.time()
            await budget.enter(Lane.ENTER, 60.0)
            assert least <= loop.time() - began <= most
            budget.leave({})

    virtually(body())


def test_a_waiter_that_gives_up_keeps_no_place() -> None:
    async def body() -> None:
        budget = Budget(now=lambda: 0.0, most_in_flight=1)
        await budget.enter(Lane.CANCEL, 1.0)
        with pytest.raises(BrokerUnavailable):
            await budget.enter(Lane.CANCEL, 0.01)
        waiting = asyncio.create_task(budget.enter(Lane.CANCEL, 5.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        budget.leave()
        assert (budget.in_flight, budget.delay(Lane.CANCEL)) == (0, 0.0)

    run(body())
