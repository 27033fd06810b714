"""Accounts on the wall clock for the tests of faults: a broker with its own book, and a house beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.alpaca_server.server import Scenario
from tests.live_house import Exchange, House
from tests.scenario.stage import Stage


@pytest.fixture
def exchange_of() -> Iterator[Callable[..., Exchange]]:
    made: list[Exchange] = []

    def make(**scenario: object) -> Exchange:
        made.append(Exchange(Scenario(**{"quote_every": 0.5, **scenario})))
        return made[-1]

    yield make
    for exchange in made:
        exchange.close()


@pytest.fixture
def house_of(own_house: Path, exchange_of: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch) -> Callable[..., House]:
    return lambda **scenario: House(own_house, exchange_of(**scenario), monkeypatch)


@pytest.fixture
def house(house_of: Callable[..., House]) -> House:
    return house_of()


@pytest.fixture
def stage(own_house: Path) -> Stage:
    return Stage(own_house)
