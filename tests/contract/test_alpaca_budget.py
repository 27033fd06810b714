"""The client's side of Alpaca's limit, on virtual time: a rebalance is in within minutes, a fifth stays unused, nothing is refused."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

import async_solipsism
import pytest

from live_executor.brokers.alpaca.budget import Budget, Lane

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
