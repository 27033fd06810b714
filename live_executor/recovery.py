"""Rebuilds the state from a journal: the inputs are stepped through the machine again, and its outputs must be those on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import cast

import msgspec

from hedgefund_core.account import State, recalled
from hedgefund_core.bundle import Bundle
from hedgefund_core.errors import HedgefundError, InvariantViolation, JournalError, ModelOutdated
from hedgefund_core.machine import Record, attach_bundle, step
from hedgefund_core.trading import events as e
from live_executor import snapshots
from live_executor.clock import EPOCH
from live_executor.logging import logger
from live_executor.ports import Journal, JournalEntry, Phase

_log = logger("recovery")

BundleOf = Callable[[str], Bundle]
"""Digest -> the kept bundle."""

_PHASES = {e.SessionBegan: Phase.BEGAN, e.BarsClosed: Phase.BARS, e.BrokerReported: Phase.REPORT, e.DecisionDue: Phase.DECISION}


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One input of the journal, the outputs on record after it, and what the machine makes of it now."""

    seq: int
    event: e.Input
    stored: tuple[JournalEntry, ...]
    outputs: tuple[e.Output, ...]
    state: State

    @property
    def difference(self) -> str:
        """The first output that differs from the record, in words; empty if none does."""
        for place in range(max(len(self.stored), len(self.outputs))):
            here = f"entry {self.seq + 1 + place}, after {e.kind_of(self.event)} {self.seq} at {self.event.ts.isoformat()}"
            if place >= len(self.outputs):
                return f"{here}: {self.stored[place].kind} is on record and is not made again"
            made = e.kind_of(self.outputs[place])
            if place >= len(self.stored):
                return f"{here}: {made} is made and is not on record"
            if e.encode(self.outputs[place]) != self.stored[place].payload:
                return f"{here}: {made} differs from the {self.stored[place].kind} on record"
        return ""


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """Where a journal ends."""

    state: State
    place: tuple[str, int] | None
    """`Moment.key` of the last moment on record."""
    ts: datetime
    entries: int
    folded: int = 0
    """Entries that were folded to get there: those after the snapshot, or all."""


def refold(
    entries: Iterable[JournalEntry], bundle_of: BundleOf, *, believe_outdated: bool = False, start: State | None = None
) -> Iterator[Turn]:
    """Fold a journal again, input by input, from its beginning or from ``start``.

    ``believe_outdated``: a genuine bundle may need feature code that this program no longer has. Its decisions are then taken from the
    record instead of being made again: a restart after an upgrade needs the books, while a proof needs every decision remade.

    Raises
    ------
    JournalError : an entry that cannot be decoded, or an output before the first input.
    """
    state = State() if start is None else start
    pending: tuple[JournalEntry, e.Input] | None = None
    stored: list[JournalEntry] = []
    for entry in entries:
        if entry.kind not in e.INPUT_KINDS:
            stored.append(entry)
            continue
        if pending is not None:
            turn = _turn(state, pending, stored, bundle_of, believe_outdated=believe_outdated)
            state = turn.state
            yield turn
        elif stored:
            raise JournalError("the journal begins with an output", mend="run `executor audit verify`")
        pending, stored = (entry, _input(entry)), []
    if pending is not None:
        yield _turn(state, pending, stored, bundle_of, believe_outdated=believe_outdated)


def restart(journal: Journal, bundle_of: BundleOf) -> Recovered:
    """The state at the end of a journal, from its newest snapshot where that can be believed, else from its beginning."""
    base = _snapshot(journal, bundle_of)
    return recover(journal.read(0 if base is None else base.entries), bundle_of, base)


def _snapshot(journal: Journal, bundle_of: BundleOf) -> Recovered | None:
    """The newest snapshot, if this program made it and the chain has its hash at its number."""
    content = journal.snapshot()
    if content is None:
        return None
    try:
        found = snapshots.unpack(content)
        entry = next(journal.read(found.seq - 1), None)
        if found.program != snapshots.program_digest() or entry is None or (entry.seq, entry.hash) != (found.seq, found.hash):
            return None
        state = snapshots.state_of(found, bundle_of)
    except (msgspec.MsgspecError, TypeError, HedgefundError) as error:
        _log.warning("snapshot not used, the journal is folded from its beginning", reason=str(error))
        return None
    return Recovered(state=state, place=found.place, ts=found.ts, entries=found.seq)


def recover(entries: Iterable[JournalEntry], bundle_of: BundleOf, base: Recovered | None = None) -> Recovered:
    """The state at the end of a journal, continued from ``base`` (a snapshot) if there is one.

    Raises JournalError where the machine does not make the outputs on record.
    """
    state, place, ts, count = (
        (State(), None, EPOCH - timedelta(days=1), 0) if base is None else (base.state, base.place, base.ts, base.entries)
    )
    for turn in _whole(refold(entries, bundle_of, believe_outdated=True, start=state)):
        if turn.difference:
            raise JournalError(f"the journal does not replay: {turn.difference}", mend="run `executor replay --verify`")
        state, ts, count = turn.state, max(ts, turn.event.ts), turn.seq + len(turn.stored)
        place = place_of(turn.event) or place
    return Recovered(state=state, place=place, ts=ts, entries=count, folded=count - (0 if base is None else base.entries))


def _whole(turns: Iterator[Turn]) -> Iterator[Turn]:
    """The same turns, but an input that contradicts those before it raises JournalError: entries are missing or were changed."""
    try:
        yield from turns
    except InvariantViolation as error:
        raise JournalError(f"the journal cannot be folded: {error.message}", mend="run `executor audit verify`") from error


def place_of(event: e.Input) -> tuple[str, int] | None:
    """Key of the moment that brought an input; None for inputs that are no moment of the schedule."""
    if isinstance(event, e.SessionBegan | e.BarsClosed | e.BrokerReported | e.DecisionDue):
        return event.session, int(_PHASES[type(event)])
    return None


def _input(entry: JournalEntry) -> e.Input:
    try:
        return cast("e.Input", entry.frame)
    except msgspec.MsgspecError as error:
        raise JournalError(f"entry {entry.seq} cannot be read: {error}", mend="run `executor audit verify`") from error


def _turn(
    state: State, pending: tuple[JournalEntry, e.Input], stored: list[JournalEntry], bundle_of: BundleOf, *, believe_outdated: bool
) -> Turn:
    entry, event = pending
    if isinstance(event, e.ModelLoaded) and event.digest not in state.bundles:
        try:
            state = attach_bundle(state, bundle_of(event.digest))
        except ModelOutdated as error:
            if not believe_outdated:
                raise
            _log.warning("model outdated", model=event.name, version=event.version, reason=error.message, mend=error.mend)
            return Turn(seq=entry.seq, event=event, stored=tuple(stored), outputs=(), state=recalled(state, event, ()))
    if believe_outdated and isinstance(event, e.DecisionDue) and state.model_digest and state.bundle is None:
        recorded = tuple(cast("e.Output", line.frame) for line in stored)
        return Turn(seq=entry.seq, event=event, stored=tuple(stored), outputs=recorded, state=recalled(state, event, recorded))
    state, commands = step(state, event)
    outputs = tuple(command.frame for command in commands if isinstance(command, Record))
    return Turn(seq=entry.seq, event=event, stored=tuple(stored), outputs=outputs, state=state)
