"""The dead-man switch: a process of its own that stops an account whose executor shows no sign of life any more.

A sign of life is a new heartbeat or a longer journal. If neither comes for too long while the market is open, the watchdog leaves a halt
(HALT file and request) and stops the account at the broker, with its own key if it has one. It never opens a position. Once a silence
has been dealt with it does not fire again before the executor has shown a sign of life.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from hedgefund_core.errors import BrokerUnavailable, ConfigError, Halted, HedgefundError, OrderOutcomeUnknown
from hedgefund_core.layout import account_folder, journal_file
from live_executor.clock import SteadyClock
from live_executor.commands import Halt
from live_executor.emergency_stop import Stopped
from live_executor.killing import Where, leave, stop_at_broker, where_is
from live_executor.live import heartbeat
from live_executor.live.adapters import LIVE_BROKERS, LiveSetup
from live_executor.logging import logger
from live_executor.ports import Clock

_log = logger("watchdog")
LOCK_FILE, PID_FILE = "watchdog.lock", "watchdog.pid"
PERSON = "watchdog"
KEY, SECRET = "ALPACA_WATCHDOG_API_KEY", "ALPACA_WATCHDOG_SECRET_KEY"


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What to watch, and what to do when it is silent."""

    data: Path
    account: str
    stale_seconds: float = 15.0
    level: int = 2
    broker_seconds: float = 60.0


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """One firing, as it is told."""

    account: str
    level: int
    silent_seconds: float
    verified: bool
    answered: bool
    orders_left: tuple[str, ...]
    closing_orders: int
    trouble: str


class Lease:
    """One watchdog an account: held as long as the process lives."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / LOCK_FILE, is_singleton=False)
        pid = folder / PID_FILE
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            holder = pid.read_text().strip() if pid.exists() else "unknown"
            raise Halted(
                f"another watchdog (process {holder}) watches account {folder.name}", mend=f"stop process {holder} first"
            ) from error
        pid.write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        """Let another watchdog have it."""
        self._lock.release()


def own_keys(env: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """The environment with the watchdog's own keys, and whether there are any."""
    if bool(env.get(KEY)) != bool(env.get(SECRET)):
        raise ConfigError(f"only one of {KEY} and {SECRET} is set", mend="set both, or neither: then the executor's key is used")
    if not env.get(KEY):
        if not env.get("ALPACA_API_KEY"):
            raise ConfigError(f"neither {KEY} nor ALPACA_API_KEY is set: nothing could be stopped", mend="set the keys (.env.example)")
        return dict(env), False
    return {**env, "ALPACA_API_KEY": env[KEY], "ALPACA_SECRET_KEY": env[SECRET]}, True


class Watchdog:
    """Watches one account."""

    def __init__(
        self,
        watch: Watch,
        env: Mapping[str, str],
        *,
        tell: Callable[[Fired], None],
        clock: Clock | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._watch, self._tell, self._wait = watch, tell, wait
        self._clock = clock or SteadyClock()
        self._env, self.has_own_key = own_keys(env)
        self._folder = watch.data / account_folder(watch.account)
        self._sign, self._sign_at, self._dealt_with = self._signs(), self._clock.now(), False

    def run(self, stopped: Callable[[], bool]) -> None:
        """Watch until told to stop."""
        pause = max(0.05, min(1.0, self._watch.stale_seconds / 5))
        while not stopped():
            self.look()
            self._wait(pause)

    def look(self) -> Fired | None:
        """Check once; fire if the silence is too long, the market is open, and this silence is not dealt with yet."""
        sign, now = self._signs(), self._clock.now()
        if sign != self._sign:
            if self._dealt_with:
                _log.warning("the executor shows signs of life again")
            self._sign, self._sign_at, self._dealt_with = sign, now, False
        silent = (now - self._sign_at).total_seconds()
        beat = heartbeat.read(self._folder)
        if beat is None or beat.stopped or self._dealt_with or silent < self._watch.stale_seconds:
            return None
        where = where_is(self._watch.data, self._watch.account)
        if where is None or not self._market_is_open(where, assumed=beat.market_open):
            return None
        return self._fire(where, silent)

    def _signs(self) -> tuple[int, ...]:
        """Times of the last change of heartbeat and journal (its newest entries lie beside it until they are folded in)."""
        journal = self._watch.data / journal_file(self._watch.account)
        return tuple(map(_changed_at, (self._folder / heartbeat.FILE, journal, journal.with_name(journal.name + "-wal"))))

    def _fire(self, where: Where, silent: float) -> Fired:
        watch = self._watch
        command = Halt(level=watch.level, reason=f"no sign of life from the executor for {silent:.0f} s", person=PERSON)
        _log.error("firing", account=watch.account, level=watch.level, silent_seconds=round(silent, 1))
        leave(watch.data, watch.account, command)
        try:
            stopped = stop_at_broker(
                watch.data, watch.account, where, command, seconds=watch.broker_seconds, env=self._env, clock=self._clock
            )
        except HedgefundError as error:
            stopped = Stopped(verified=False, answered=False, trouble=error.message)
        self._sign, self._dealt_with = self._signs(), stopped.verified or stopped.armed
        fired = Fired(
            account=watch.account,
            level=watch.level,
            silent_seconds=round(silent, 1),
            verified=stopped.verified,
            answered=stopped.answered,
            orders_left=stopped.orders_left,
            closing_orders=len(stopped.closing_orders),
            trouble=stopped.trouble,
        )
        self._tell(fired)
        return fired

    def _market_is_open(self, where: Where, *, assumed: bool) -> bool:
        """By the broker's own clock; one that does not answer is taken to be as the executor last saw it."""
        setup = LiveSetup(env=self._env, live=where.mode == "live", clock=self._clock, rng=random.Random())  # noqa: S311 - jitter

        async def ask() -> bool:
            broker = LIVE_BROKERS[where.broker](setup)
            try:
                return (await broker.market_clock()).is_open
            finally:
                await broker.close()

        try:
            return asyncio.run(ask())
        except (BrokerUnavailable, OrderOutcomeUnknown, ConfigError) as error:
            _log.warning("the broker's clock cannot be read", reason=error.message)
            return assumed


def _changed_at(path: Path) -> int:
    """When a file changed last; 0 where there is none: the journal's second file goes away whenever its database is closed."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
