"""Registries of brokers and feeds on the wall clock (modes paper and live): a new one is a file beside its kind and a line here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hedgefund_core.errors import ConfigError
from live_executor.ports import Clock, LiveBroker, LiveFeed, Sleep

if TYPE_CHECKING:
    from live_executor.brokers.simulated_live import PaperMarket


class LiveSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter needs: where the keys are, whether real money is meant, and time and chance from outside."""

    env: Mapping[str, str]
    live: bool
    clock: Clock
    rng: random.Random
    sleep: Sleep = asyncio.sleep
    locks: Path | None = None
    """Where processes of this machine see that a connection is held."""
    folder: Path | None = None
    """The account's own."""
    keep: bool = True
    """Whether adapters may write there: who only looks leaves the books to the process that trades."""
    recorded: Path | None = None
    """Account folder whose recorded feed is played; None = the account's own."""
    speed: float = 1.0
    cash: Decimal = Decimal(1_000_000)
    """Of a new simulated account."""
    shared: dict[str, PaperMarket] = {}
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


def _paper_market(setup: LiveSetup) -> PaperMarket:
    """The one market that simulated broker and feed share."""
    from live_executor.brokers.simulated_live import PaperMarket

    if "market" not in setup.shared:
        setup.shared["market"] = PaperMarket(setup.rng, setup.clock)
    return setup.shared["market"]


def _simulated_broker(setup: LiveSetup) -> LiveBroker:
    from live_executor.brokers.simulated_live import SimulatedBroker

    return SimulatedBroker(_paper_market(setup), _folder(setup), setup.cash, setup.rng, setup.sleep, keep=setup.keep)


def _simulated_feed(setup: LiveSetup) -> LiveFeed:
    from live_executor.brokers.simulated_live import PaperFeed

    return PaperFeed(_paper_market(setup))


def _replay_feed(setup: LiveSetup) -> LiveFeed:
    """The recorded day; the simulated broker's market follows it."""
    from live_executor.brokers.simulated_live import FollowedFeed
    from live_executor.feeds.recorded import RecordedFeed
    from live_executor.feeds.recorder import segments

    market = _paper_market(setup)
    return FollowedFeed(RecordedFeed(segments(setup.recorded or _folder(setup)), setup.clock, setup.sleep, speed=setup.speed), market)


def _folder(setup: LiveSetup) -> Path:
    if setup.folder is None:
        raise ConfigError("this adapter keeps files and was given no folder", mend="name an account")
    return setup.folder


LIVE_BROKERS: dict[str, Callable[[LiveSetup], LiveBroker]] = {"alpaca": _alpaca_broker, "simulated": _simulated_broker}
LIVE_FEEDS: dict[str, Callable[[LiveSetup], LiveFeed]] = {"alpaca": _alpaca_feed, "simulated": _simulated_feed, "replay": _replay_feed}
