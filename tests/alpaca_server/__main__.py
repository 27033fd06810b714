"""``python -m tests.alpaca_server --port 0 --scenario FILE|JSON``: prints ``{"port": …, "env": {…}}`` and serves until it is ended."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from tests.alpaca_server.server import AlpacaServer, Scenario


async def _serve(port: int, scenario: Scenario) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        server = AlpacaServer(scenario)
        await server.start(port)
        stack.push_async_callback(server.stop)
        sys.stdout.write(msgspec.json.encode({"port": server.port, "env": server.env}).decode() + "\n")
        sys.stdout.flush()
        parent = os.getppid()
        while not ended.is_set() and os.getppid() == parent:  # nobody left to serve
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 1.0)


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--scenario", default="{}")
    given = parser.parse_args()
    raw = given.scenario if given.scenario.lstrip().startswith("{") else Path(given.scenario).read_text()
    asyncio.run(_serve(given.port, msgspec.json.decode(raw, type=Scenario, strict=False)))


if __name__ == "__main__":
    main()
