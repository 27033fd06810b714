"""Registry of brokers: a new one is a file and a line here; the conformance suite picks it up by itself."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec

from hedgefund_core.risk.limits import Costs
from live_executor.ports import Broker


class BrokerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter needs to open an account."""

    data: Path
    account: str
    source: str
    costs: Costs
    initial_cash: Decimal


def _simulated(setup: BrokerSetup) -> Broker:
    from live_executor.brokers.simulated import SimulatedBroker

    return SimulatedBroker(setup)


def _simulated_process(setup: BrokerSetup) -> Broker:
    from live_executor.brokers.simulated_client import SimulatedClient, port_file

    return SimulatedClient(port_file(setup.data, setup.account))


BROKERS: dict[str, Callable[[BrokerSetup], Broker]] = {
    "simulated": _simulated,
    "simulated_process": _simulated_process,
}
"""``simulated``: the exchange inside the trading process; ``simulated_process``: the same exchange as a process of its own."""
