"""The desk: state and journal of one account, used by both runtimes (replay on simulated time, live on the wall clock).

Inputs are stepped through the machine and made durable together with its outputs in one commit. The machine's commands are returned
only after that, so that nothing is done outside which the journal does not know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from hedgefund_core.account import State
from hedgefund_core.bundle import Bundle
from hedgefund_core.errors import JournalError
from hedgefund_core.machine import Command, Record, attach_bundle, step
from hedgefund_core.trading import events as e
from hedgefund_core.trading.evidence import numbered
from live_executor import snapshots
from live_executor.crash import crash_here
from live_executor.logging import logger
from live_executor.ports import Journal
from live_executor.recovery import Recovered, place_of

_log = logger("desk")
SNAPSHOT_EVERY = 5000
"""Frames between two snapshots. A restart folds at most so many, which takes about two seconds."""
_SIGNED_WITHIN = timedelta(minutes=5)
"""A journal of few frames is signed so often all the same: what is signed cannot be cut off unnoticed."""
DENIED, REFUSED, INTERRUPTED = "denied", "refused", "interrupted"
"""By a rule of ours, by the broker, by a signal before the targets were reached."""
_COUNTED = ("session_began", "orders_intended", "orders_denied", "order_filled")

Watcher = Callable[[Sequence[e.Event]], None]
"""Called with frames once they are durable."""
Idle = Callable[[State, State, Sequence[e.Event]], bool]
"""Called with the state before, the state after, and the frames: whether nothing came of the inputs, so that they need no commit."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did. ``ended`` is end, sigint or sigterm; ``short`` who kept the run from its targets or its end."""

    state: State
    sessions: int
    orders: int
    denied: int
    fills: int
    ended: str
    short: str = ""

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C; 5, 6 and 130 where a rule, the broker or a signal kept us from what was to be reached; else 0."""
        return 130 if self.ended == "sigint" else {DENIED: 5, REFUSED: 6, INTERRUPTED: 130}.get(self.short, 0)


class _Group:
    """What was folded since `Desk.together` began and is not durable yet."""

    __slots__ = ("commands", "frames", "state")

    def __init__(self, state: State) -> None:
        self.state, self.frames, self.commands = state, list[e.Event](), list[Command]()


class Desk:
    """State and journal of one account."""

    def __init__(
        self,
        journal: Journal,
        recovered: Recovered,
        *,
        sign_every: int,
        now: Callable[[], datetime],
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self._journal, self._state = journal, recovered.state
        self._place, self._ts = recovered.place, recovered.ts
        self._unkept = recovered.folded
        """Frames since the last snapshot. It begins with those that the start had to fold: if they are many, the first commit snapshots."""
        self._sign_every, self._unsigned, self._now = sign_every, 0, now
        self._signed_at = now()
        self._snapshot_every = snapshot_every
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._watchers: list[Watcher] = []
        self._listeners: list[Watcher] = []
        self._group: _Group | None = None
        self.failed = False
        """Whether the journal refused a commit. Then nothing more is written, and nothing may be sent."""

    @property
    def state(self) -> State:
        """The account as the machine has it; inside a group with what was folded so far."""
        return self._state if self._group is None else self._group.state

    def watch(self, watcher: Watcher) -> None:
        """Let ``watcher`` hear of every commit."""
        self._watchers.append(watcher)

    def overhear(self, listener: Watcher) -> None:
        """Let ``listener`` hear of frames as they are folded, before they are durable: it may remember them but not act on them."""
        self._listeners.append(listener)

    def open(self, events: Sequence[e.Input], bundles: Sequence[Bundle] = ()) -> None:
        """Journal what opens a run: account, configuration, model, history. They ask for nothing outside."""
        for bundle in bundles:
            self._state = attach_bundle(self._state, bundle)
        self.fold(events)

    def fold(self, events: Sequence[e.Input], *, idle: Idle | None = None) -> list[Command]:
        """Step through events, make them and their outputs durable in one commit, and return the machine's commands.

        If there are no commands and ``idle`` says that nothing came of the events, nothing is journaled and the state stays as it was.
        Inside `together` the commit comes later, and the commands with it: then an empty list is returned.
        """
        state, frames, others = self._stepped(events)
        if not frames or (idle is not None and not others and idle(self.state, state, frames)):
            return others
        for event in events:
            self._place, self._ts = place_of(event) or self._place, max(self._ts, event.ts)
        if state.ladder.level > self.state.ladder.level:
            self._unsigned = self._sign_every  # a halt is signed at once
        for listener in self._listeners:
            listener(frames)
        if self._group is None:
            self._commit(state, frames)
            return others
        self._group.state = state
        self._group.frames += frames
        self._group.commands += others
        return []

    def _stepped(self, events: Sequence[e.Input]) -> tuple[State, list[e.Event], list[Command]]:
        """The state after events, they and their records, and the other commands."""
        state, frames, others = self.state, list[e.Event](), list[Command]()
        for event in events:
            if isinstance(event, e.BrokerEvent) and event.broker_seq <= state.broker_seq:
                continue  # booked already
            state, commands = step(state, event)
            frames.append(event)
            for command in commands:
                if isinstance(command, Record):
                    frames.append(command.frame)
                else:
                    others.append(command)
        return state, frames, others

    @contextlib.contextmanager
    def together(self) -> Iterator[Sequence[Command]]:
        """Everything folded inside is one durable commit. The list it gives has the commands, to be carried out after the block.

        If the block raises, nothing of it is committed: as if the process had ended before it heard of any of it.
        """
        group = self._group = _Group(self._state)
        try:
            yield group.commands
        finally:
            self._group = None
        if group.frames:
            self._commit(group.state, group.frames)

    def book(self, news: Sequence[e.BrokerNews]) -> list[Command]:
        """Fold news of a live broker, which does not number it: it gets the sequence numbers after the last one booked."""
        return self.fold(numbered(news, after=self.state.broker_seq))

    def sign(self) -> None:
        """Sign the head now."""
        self._signed_at = self._now()
        self._journal.sign_head(self._signed_at)
        self._unsigned = 0

    def tidy(self) -> None:
        """Housekeeping of the journal, between two steps: here no order waits for it."""
        if self.failed:
            return
        if self._unsigned and self._now() - self._signed_at >= _SIGNED_WITHIN:
            self.sign()
        self._journal.tidy()

    def summary(self, ended: str, short: str = "") -> Summary:
        """What was done since the desk was opened."""
        counts = self._counts
        return Summary(
            state=self._state,
            sessions=counts["session_began"],
            orders=counts["orders_intended"],
            denied=counts["orders_denied"],
            fills=counts["order_filled"],
            ended=ended,
            short=short,
        )

    def _commit(self, state: State, frames: Sequence[e.Event]) -> None:
        crash_here("before_journal")
        try:
            self._journal.append(frames)
        except JournalError:
            self.failed = True
            raise
        crash_here("after_journal")
        self._state = state
        self._count(frames)
        self._unsigned += len(frames)
        self._unkept += len(frames)
        if self._unsigned >= self._sign_every:
            self.sign()
        if self._unkept >= self._snapshot_every:
            self._keep_state()
        for watcher in self._watchers:
            watcher(frames)

    def _keep_state(self) -> None:
        head = self._journal.head
        self._journal.save_snapshot(snapshots.pack(self._state, seq=head.seq, digest=head.hash, place=self._place, ts=self._ts))
        self._unkept = 0

    def _count(self, frames: Sequence[e.Event]) -> None:
        for frame in frames:
            kind = e.kind_of(frame)
            if kind in self._counts:
                self._counts[kind] += len(frame.orders) if isinstance(frame, e.OrdersIntended | e.OrdersDenied) else 1
            if isinstance(frame, e.AlertRaised):
                _log.warning("alert", severity=frame.severity, message=frame.message)
            elif isinstance(frame, e.LadderMoved):
                _log.warning("ladder", before=frame.before, after=frame.after, cause=frame.cause, session=frame.session)
