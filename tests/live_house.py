"""An executor in a process of its own against the tests' own broker: what both sides believe, and what goes wrong between them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hedgefund_core.errors import HedgefundError, JournalError
from hedgefund_core.layout import account_folder, journal_file
from live_executor.app_live import LiveRequest, run_live
from live_executor.cli import app
from live_executor.journals.sqlite import JournalReader
from live_executor.live.runtime import Live
from live_executor.ports import JournalEntry
from live_executor.settings import read_settings
from tests.alpaca_server.server import AlpacaServer, Scenario

ROOT = Path(__file__).resolve().parents[1]
QUICK = {
    "ORDERS_EVERY_SECONDS": "0.5",
    "URGENT_EVERY_SECONDS": "0.2",
    "BOOKS_EVERY_SECONDS": "0.5",
    "CLOCK_EVERY_SECONDS": "0.5",
    "ABSENCE_SECONDS": "0.4",
    "SESSION_GRACE_SECONDS": "1.0",
    "ENTRIES_WAIT_SECONDS": "3.0",
    "START_PATIENCE_SECONDS": "2.0",
    "REPRICE_SECONDS": "2.0",
    "STARTS_BUDGET": "1000",
}
"""The same executor, less patient."""


class Exchange:
    """The server on a thread of its own; asked over HTTP, as from another process."""

    def __init__(self, scenario: Scenario) -> None:
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._scenario = scenario
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)

        async def life() -> None:
            self.server = AlpacaServer(self._scenario)
            await self.server.start(0)
            self.env = self.server.env
            self._stop = asyncio.Event()
            self._ready.set()
            await self._stop.wait()
            await self.server.stop()

        self._loop.run_until_complete(life())
        self._loop.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.env['ALPACA_TRADING_URL']}{path}", data=data), timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def truth(self) -> dict[str, Any]:
        return self.ask("/_book")

    def fault(self, kind: str, **more: object) -> None:
        self.ask("/_fault", {"kind": kind, **more})

    def act(self, do: str, **more: object) -> Any:
        return self.ask("/_act", {"do": do, **more})

    def move(self, **prices: float) -> None:
        self.ask("/_market", {symbol: [f"{price - 0.01:.2f}", f"{price + 0.01:.2f}"] for symbol, price in prices.items()})

    def held(self) -> dict[str, float]:
        return {symbol: float(qty) for symbol, qty in self.truth()["positions"].items() if float(qty)}

    def open_orders(self) -> list[dict[str, Any]]:
        over = {"filled", "canceled", "expired", "rejected", "replaced"}
        return [order for order in self.truth()["orders"] if order["status"] not in over]


class Hosted:
    """An executor on a thread."""

    def __init__(self, request: LiveRequest) -> None:
        self.request, self.error, self.summary = request, None, None
        self._live: Live | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.summary = run_live(read_settings(), self.request, on_live=self._take)
        except HedgefundError as error:
            self.error = error

    def _take(self, live: Live) -> None:
        self._live, self._loop = live, asyncio.get_running_loop()

    def ended(self, seconds: float = 40.0) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        while self._live is None and self._thread.is_alive():
            time.sleep(0.02)  # it is just beginning
        if self._live is not None and self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._live.stop, "sigterm")
        assert self.ended()
        if self.error is not None:
            raise self.error


class House:
    """One account's folders, a file of targets, and the broker beside it."""

    def __init__(self, folder: Path, exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in exchange.env.items():
            monkeypatch.setenv(name, value)
        self.folder, self.exchange, self.account = folder, exchange, "paper"
        self.targets = folder / "targets.json"
        self.process: subprocess.Popen[str] | None = None
        self.hosted: Hosted | None = None
        for key, value in QUICK.items():
            monkeypatch.setenv(f"HEDGEFUND_TRADING__LIVE__{key}", value)

    def want(self, content: object) -> None:
        fresh = self.targets.with_suffix(".tmp")
        fresh.write_text(content if isinstance(content, str) else json.dumps(content))
        fresh.replace(self.targets)

    @contextmanager
    def trading(self, **request: Any) -> Iterator[Hosted]:
        """The executor on a thread of this process, which spares its start."""
        hosted = Hosted(LiveRequest(mode="paper", targets=self.targets, rebalance_every="500ms", **request))
        self.hosted = hosted
        try:
            yield hosted
        finally:
            hosted.stop()
            self.hosted = None

    @contextmanager
    def running(self, *arguments: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        process = self.start(*arguments, env=env)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                self.said = process.communicate(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                self.said = process.communicate()
                pytest.fail(f"it did not stop: {self.said[1][-2000:]}")

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "live_executor", "run", "--targets", str(self.targets), "--rebalance-every", "500ms", "--json"]
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.process

    def until(self, done: Callable[[], bool], seconds: float = 45.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if done():
                return
            if self.hosted is not None and self.hosted.error is not None:
                raise self.hosted.error
            if self.process is not None and self.process.poll() is not None:
                pytest.fail(f"the executor ended with {self.process.returncode}: {self.process.communicate()[1][-3000:]}")
            time.sleep(0.1)
        pytest.fail(f"not in {seconds} s; broker: {json.dumps(self.exchange.truth())[:3000]}")

    def until_held(self, **wanted: float) -> None:
        self.until(lambda: self.exchange.held() == {symbol: quantity for symbol, quantity in wanted.items() if quantity})

    def entries(self, *kinds: str) -> list[JournalEntry]:
        path = self.folder / "data" / journal_file(self.account)
        if not path.exists():
            return []
        reader = JournalReader(path)
        try:
            return list(reader.read(kinds=kinds))
        except JournalError:
            return []  # its first process is still making it
        finally:
            reader.close()

    def frames(self, *kinds: str) -> list[Any]:
        return [entry.frame for entry in self.entries(*kinds)]

    def cli(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--account", self.account])

    def json(self, *arguments: str, code: int = 0) -> Any:
        result = self.cli(*arguments, "--json")
        assert result.exit_code == code, result.output + result.stderr
        return json.loads(result.stdout)

    @property
    def commands(self) -> Path:
        return self.folder / "data" / account_folder(self.account) / "commands"

    def agree(self) -> None:
        """Once nothing moves: orders, fills, positions and cash of the journal are the broker's own, and the journal replays."""
        truth = self.exchange.truth()
        ours = {row["symbol"]: float(row["quantity"]) for row in self.json("positions")}
        assert ours == {symbol: float(quantity) for symbol, quantity in truth["positions"].items() if float(quantity)}
        assert float(self.json("status")["cash"]) == pytest.approx(float(truth["cash"]), abs=0.005)
        booked = sorted((row["symbol"], row["side"], float(row["quantity"]) * float(row["price"])) for row in self.json("fills"))
        traded = sorted(
            (fill["symbol"], fill["side"], float(fill["qty"]) * float(fill["price"])) for fill in truth["fills"] if not fill["busted"]
        )
        assert _sums(booked) == pytest.approx(_sums(traded))
        mine = [order["client_order_id"] for order in truth["orders"] if not order["external"]]
        assert len(mine) == len(set(mine)), "an intent became two orders"
        known = {row["client_order_id"] for row in self.json("orders")}
        assert set(mine) <= known, "an order left without a journaled intent"
        assert self.json("replay", "--verify")["ok"]


def _sums(rows: list[tuple[str, str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for symbol, side, value in rows:
        found[f"{symbol} {side}"] = found.get(f"{symbol} {side}", 0.0) + value
    return found
