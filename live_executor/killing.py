"""Halts a live account at level 2 or 3 whether or not its executor still works.

The executor is asked first, and its queries have to show that nothing is left. If it has not journaled the request after a short wait,
falls silent before that proof, or does not run, the command stops the account at the broker itself (`emergency_stop`). It uses the
account's adapter, goes past journal and lock, and writes what it does into the emergency log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec

from hedgefund_core.errors import BrokerUnavailable, HedgefundError, JournalError, OrderOutcomeUnknown
from hedgefund_core.layout import account_folder, journal_file
from hedgefund_core.trading.events import AccountOpened
from hedgefund_core.trading.state import Level
from live_executor import logging
from live_executor.clock import SteadyClock
from live_executor.commands import Halt, Mailbox, send
from live_executor.confirming import confirmed
from live_executor.emergency_stop import EmergencyStop, Stopped
from live_executor.journals.emergency import EmergencyLog
from live_executor.journals.lock import holder_of
from live_executor.journals.sqlite import JournalReader
from live_executor.live import heartbeat
from live_executor.live.adapters import LIVE_BROKERS, LiveSetup
from live_executor.live.opening import name_of, refuse_another
from live_executor.logging import logger
from live_executor.operations import Done, journal_directly, wait_until_taken
from live_executor.ports import Clock, LiveBroker
from live_executor.settings import Settings

_log = logger("killing")
LEFT, NEVER_ANSWERED = 5, 6
_WHOSE_SECONDS = 2.0
"""What is spent on asking whose keys these are: a broker that does not say is stopped all the same."""
_INSIDE = frozenset({"simulated"})
"""Brokers inside the executor's own process: nobody else can reach them."""


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Which broker an account trades at."""

    mode: str
    broker: str
    broker_account: str = ""
    """As the journal names it; empty where it cannot be read."""


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a halt that went to the broker past the executor."""

    account: str
    state: str
    cause: str
    person: str
    by: str
    verified: bool
    answered: bool
    orders_left: tuple[str, ...]
    positions_left: dict[str, Decimal]
    closing_orders: tuple[str, ...]
    queries: int
    trouble: str
    journal_seq: int
    """0: the executor has it in its mailbox and the emergency log, and adopts both when it can."""

    @property
    def exit_code(self) -> int:
        """0 when a query has shown that nothing is left, 6 when the broker never answered, else 5."""
        return 0 if self.verified else LEFT if self.answered else NEVER_ANSWERED


def where_is(data: Path, account: str) -> Where | None:
    """Broker and mode of a live account by its journal, or where that cannot be read by its heartbeat; None of a replay."""
    found = _by_journal(data, account) or _by_heartbeat(data, account)
    return found if found is not None and found.mode in {"paper", "live"} and found.broker in LIVE_BROKERS.keys() - _INSIDE else None


def _by_journal(data: Path, account: str) -> Where | None:
    try:
        with closing(JournalReader(data / journal_file(account))) as reader:
            first = next(reader.read(kinds=("account_opened",)), None)
    except JournalError as error:
        _log.warning("the journal cannot be read", reason=error.message)
        return None
    frame = None if first is None else first.frame
    if not isinstance(frame, AccountOpened):
        return None
    return Where(mode=frame.mode, broker=frame.broker, broker_account=frame.broker_account)


def _by_heartbeat(data: Path, account: str) -> Where | None:
    beat = heartbeat.read(data / account_folder(account))
    return None if beat is None else Where(mode=beat.mode, broker=beat.broker)


def kill(
    data: Path, account: str, where: Where, command: Halt, *, wait_seconds: float, broker_seconds: float, settings: Settings | None
) -> Done | Killed:
    """Carry out a halt of level 2 or 3; ``settings`` None (they cannot be read) leaves the journal to the executor.

    Raises
    ------
    ConfigError : the broker refuses the keys, or there are none.
    """
    folder = data / account_folder(account)
    log_beside(folder)
    path, runs = leave(data, account, command), holder_of(folder) is not None
    if runs and path is not None and wait_until_taken(path, folder, wait_seconds):
        done_by_executor = confirmed(data, account, Level(command.level), broker_seconds)
        if done_by_executor is not None:
            return done_by_executor
    stopped = stop_at_broker(data, account, where, command, seconds=broker_seconds)
    done = None if settings is None or holder_of(folder) is not None else _journal(settings, account, command, path)
    return Killed(
        account=account,
        state=Level(command.level).name.lower() if done is None else done.state,
        cause=command.reason,
        person=command.person,
        by="broker",
        verified=stopped.verified,
        answered=stopped.answered,
        orders_left=stopped.orders_left,
        positions_left=stopped.positions_left,
        closing_orders=stopped.closing_orders,
        queries=stopped.queries,
        trouble=stopped.trouble,
        journal_seq=0 if done is None else done.journal_seq,
    )


def log_beside(folder: Path) -> None:
    """Log into the account's log file, if that can be written."""
    try:
        logging.configure(folder)
    except OSError as error:
        _log.warning("no log file", reason=str(error))


def stop_at_broker(
    data: Path,
    account: str,
    where: Where,
    command: Halt,
    *,
    seconds: float,
    env: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> Stopped:
    """The emergency stop itself, with the broker's adapter of the account."""
    clock, rng = clock or SteadyClock(), random.Random()  # noqa: S311 - jitter of pauses, no secret
    setup = LiveSetup(env=os.environ if env is None else env, live=where.mode == "live", clock=clock, rng=rng)
    log = EmergencyLog(data / account_folder(account))

    async def act() -> Stopped:
        broker = LIVE_BROKERS[where.broker](setup)
        try:
            await _refuse_another(broker, where)
            stop = EmergencyStop(broker, log, account=account, person=command.person, reason=command.reason, clock=clock, sleep=setup.sleep)
            return await stop.run(Level(command.level), until=clock.now() + timedelta(seconds=seconds))
        finally:
            await broker.close()

    return asyncio.run(act())


async def _refuse_another(broker: LiveBroker, where: Where) -> None:
    """Raise ConfigError where the keys of this shell are surely another account's: its orders and positions are not meant."""
    with contextlib.suppress(TimeoutError, BrokerUnavailable, OrderOutcomeUnknown):
        async with asyncio.timeout(_WHOSE_SECONDS):
            refuse_another(name_of(await broker.account()), where.broker_account)


def leave(data: Path, account: str, command: Halt) -> Path | None:
    """Make the HALT file and leave the request for the executor, if the disk takes them; a full one must not stop the emergency stop."""
    try:
        Mailbox(data, account).mirror(on=True)
        return send(data, account, command)
    except OSError as error:
        _log.warning("the request cannot be left for the executor", reason=str(error))
        return None


def _journal(settings: Settings, account: str, command: Halt, path: Path | None) -> Done | None:
    """No executor runs: write the halt into the journal. If that fails, the request stays for the next start."""
    try:
        done = journal_directly(settings, account, command)
    except (HedgefundError, OSError) as error:
        _log.error("not journaled: the request waits for the next start", reason=str(error))
        return None
    if path is not None:
        path.unlink(missing_ok=True)
    return done
