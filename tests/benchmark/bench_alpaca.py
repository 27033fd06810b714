"""Orders sent and bars received for a second of processor time, beside alpaca-py, against servers on loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmark.row import Row

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 3
ORDER_GOAL, STREAM_GOAL, BARS_GOAL = 4.0, 8.0, 100_000.0
NO_PEER = "alpaca-py is not installed"


def measure(_folder: Path) -> Iterator[Row]:
    """Client and server are processes of their own; only the client's time counts; medians of rounds that take turns."""
    ours, theirs = _both("orders", ["orders"], our_count=4000, their_count=1000)
    yield _row("orders sent", "orders / cpu-s", ours, theirs, ORDER_GOAL, f"answers read; ours {20} at a time, theirs blocks")
    for per_frame, our_count, their_count in ((1, 100_000, 20_000), (100, 1_000_000, 100_000)):
        ours, theirs = _both("bars", ["bars", str(per_frame)], our_count=our_count, their_count=their_count)
        name = f"bars received, {per_frame} a frame"
        yield _row(name, "bars / cpu-s", ours, theirs, STREAM_GOAL, "received, parsed, in our words, newest kept by symbol")
        if per_frame == 100:
            yield Row(name="bars received", ours=ours, unit="bars / cpu-s", goal=">= 100,000 / s / core", met=ours >= BARS_GOAL)


def _row(name: str, unit: str, ours: float, theirs: float | None, goal: float, note: str) -> Row:
    ratio = None if theirs is None else ours / theirs
    words = note if theirs is not None else NO_PEER
    met = ratio is not None and ratio >= goal
    return Row(name=name, ours=ours, unit=unit, goal=f">= {goal:g}x", met=met, peer="alpaca-py", theirs=theirs, ratio=ratio, note=words)


def _both(what: str, server: list[str], *, our_count: int, their_count: int) -> tuple[float, float | None]:
    has_peer = importlib.util.find_spec("alpaca") is not None
    ours, theirs = list[float](), list[float]()
    with _loopback(server) as port:
        for _ in range(ROUNDS):
            ours.append(_client(f"our_{what}", port, our_count))
            if has_peer:
                theirs.append(_client(f"their_{what}", port, their_count))
    return statistics.median(ours), statistics.median(theirs) if theirs else None


def _client(who: str, port: int, count: int) -> float:
    command = [sys.executable, "-m", "tests.benchmark.alpaca_clients", who, str(port), str(count)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode or not done.stdout.strip():
        raise RuntimeError(done.stderr[-2000:])
    return float(done.stdout)


@contextlib.contextmanager
def _loopback(arguments: list[str]) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.benchmark.alpaca_loopback", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline())
        finally:
            server.kill()
