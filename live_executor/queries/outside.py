"""What a live account's broker says now, beside its journal: reconciliation, and the next decision on targets. Nothing is traded."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from hedgefund_core.account import State
from hedgefund_core.errors import DataInvalid
from hedgefund_core.identifiers import is_own_order
from hedgefund_core.layout import account_folder
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO
from live_executor.clock import SystemClock
from live_executor.commands import Mailbox
from live_executor.live import heartbeat
from live_executor.live.adapters import LIVE_BROKERS, LIVE_FEEDS, LiveSetup
from live_executor.live.cursor import ActivityCursor
from live_executor.live.rehearsal import Rehearsal
from live_executor.ports import JournalEntry
from live_executor.queries.books import Reconciliation
from live_executor.queries.plan import Plan, after_orders, changes, cost, exposures, planned, turnover, weight_measures
from live_executor.queries.story import Story
from live_executor.settings import Settings
from live_executor.targets import Targets, TargetsFile

T = TypeVar("T")


def reconcile_live(story: Story, entries: Iterable[JournalEntry], settings: Settings) -> Reconciliation:
    """Compare the journal with the broker, after booking in memory what the executor has not heard of yet."""
    found: list[Reconciliation] = []

    async def look(rehearsal: Rehearsal) -> None:
        reconciled = await rehearsal.reconcile()
        news = sum(isinstance(frame, e.BrokerEvent) for frame in rehearsal.journal.frames)
        explained = [f"{news} pieces of the broker's news are not booked yet"] if news else []
        strangers = [row for row in reconciled.differences if row.kind == "order" and row.ours == "none" and not is_own_order(row.symbol)]
        explained += [f"somebody else's order {row.symbol} is open: it is left alone" for row in strangers]
        left = tuple(row for row in reconciled.differences if row not in strangers)
        found.append(Reconciliation(ok=not left, differences=left, explained=tuple(explained)))

    _with_rehearsal(story, entries, settings, look)
    return found[0]


def plan_live(story: Story, entries: Iterable[JournalEntry], settings: Settings, targets: Path | None) -> Plan:
    """What the next decision on a file of targets would do; without one, on the file that the executor follows."""
    wanted = _targets(settings, story.state.account, targets)
    found: list[Plan] = []

    async def look(rehearsal: Rehearsal) -> None:
        frames = await rehearsal.decide(wanted)
        found.append(_plan(rehearsal.state, frames, rehearsal.hands.canceled))

    _with_rehearsal(story, entries, settings, look)
    return found[0]


def _targets(settings: Settings, account: str, path: Path | None) -> Targets:
    beat = heartbeat.read(settings.data / account_folder(account))
    chosen = path or (Path(beat.targets_file) if beat is not None and beat.targets_file else None)
    if chosen is None:
        raise DataInvalid(f"account {account} follows no file of targets", mend="executor plan --targets FILE")
    return TargetsFile(chosen).changed() or Targets()


def _with_rehearsal(
    story: Story, entries: Iterable[JournalEntry], settings: Settings, look: Callable[[Rehearsal], Awaitable[None]]
) -> None:
    broker = "alpaca" if story.opened is None else story.opened.broker
    account, clock = story.state.account, SystemClock()
    folder = settings.data / account_folder(account)
    setup = LiveSetup(
        env=os.environ,
        live=story.state.mode == "live",
        clock=clock,
        rng=random.Random(),  # noqa: S311 - jitter
        folder=folder,
        keep=False,
    )
    cursor = ActivityCursor(folder, keep=False)

    async def act() -> None:
        adapters = LIVE_BROKERS[broker](setup), LIVE_FEEDS[broker](setup)
        try:
            mailbox = Mailbox(settings.data, account)
            await look(Rehearsal(story.state, entries, mailbox, cursor, adapters, clock, settings.trading.live))
        finally:
            await adapters[0].close()
            await adapters[1].close()

    asyncio.run(act())


def _plan(state: State, frames: Sequence[e.Event], cancels: Sequence[str]) -> Plan:
    made = next((frame for frame in frames if isinstance(frame, e.DecisionMade)), None)
    orders = [order for frame in frames if isinstance(frame, e.OrdersIntended | e.OrdersDenied) for order in frame.orders]
    mandate = state.mandate
    rows = () if mandate is None else tuple(planned(order, mandate) for order in orders)
    after = after_orders(state, [order for frame in frames if isinstance(frame, e.OrdersIntended) for order in frame.orders])
    note = f"{len(cancels)} working orders would be cancelled first" if cancels else ""
    return Plan(
        session=state.session,
        purpose="targets" if made is not None else "none",
        note=note or ("" if made is not None else "the account is where the targets want it, or may not trade now"),
        assumed_filled=0,
        orders=rows,
        turnover=turnover(rows, state.equity),
        cost=cost(rows),
        borrow_per_year=ZERO,
        exposures=exposures(weight_measures(state), weight_measures(after), mandate),
        changes=changes(state, after, {} if made is None else made.weights),
    )
