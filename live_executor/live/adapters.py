"""Registries of brokers and feeds on the wall clock (modes paper and live): a new one is a file beside its kind and a line here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from live_executor.ports import Clock, LiveBroker, LiveFeed


class LiveSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter needs: where the keys are, whether real money is meant, and time and chance from outside."""

    env: Mapping[str, str]
    live: bool
    clock: Clock
    rng: random.Random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    locks: Path | None = None
    """Where processes of this machine see that a connection is held."""
    data_due: Callable[[], bool] | None = None
    """Whether the market is open by the broker's word: then a silent data stream is a mute one. None = the adapter's own idea of hours."""


def _alpaca_broker(setup: LiveSetup) -> LiveBroker:
    from live_executor.brokers.alpaca.broker import AlpacaBroker
    from live_executor.brokers.alpaca.endpoints import read_endpoints
    from live_executor.streams import Surroundings

    surroundings = Surroundings(clock=setup.clock, rng=setup.rng, sleep=setup.sleep)
    return AlpacaBroker(read_endpoints(setup.env, live=setup.live), surroundings, locks=setup.locks)


def _alpaca_feed(setup: LiveSetup) -> LiveFeed:
    from live_executor.brokers.alpaca.endpoints import read_endpoints
    from live_executor.feeds.alpaca import AlpacaFeed
    from live_executor.streams import Surroundings

    surroundings = Surroundings(clock=setup.clock, rng=setup.rng, sleep=setup.sleep)
    return AlpacaFeed(read_endpoints(setup.env, live=setup.live), surroundings, locks=setup.locks, data_due=setup.data_due)


LIVE_BROKERS: dict[str, Callable[[LiveSetup], LiveBroker]] = {"alpaca": _alpaca_broker}
LIVE_FEEDS: dict[str, Callable[[LiveSetup], LiveFeed]] = {"alpaca": _alpaca_feed}
