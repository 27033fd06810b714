"""``replay --verify``: fold the journal's inputs from the start and make every output again, byte for byte.

Recorded outputs that are missing are regenerated and counted. A recorded output that differs, or that nothing regenerates,
fails the verification, as does a bundle that is not the one whose digest was journaled; the first decision is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

import msgspec

from hedgefund_core.account import State
from hedgefund_core.errors import HedgefundError, ModelMismatch, ModelUnavailable
from hedgefund_core.machine import Record, attach_bundle, step
from hedgefund_core.trading import events as e
from live_executor.ports import JournalEntry
from live_executor.queries.suspects import SuspectReader

Keep = Callable[[e.Frame], None]
"""Takes each frame of the regenerated journal."""
_ORDERS = (e.OrdersIntended, e.OrdersDenied)


class FirstDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the journal and its regeneration part."""

    decision_id: str
    """Of the first decision that differs; empty where only other frames do."""
    session: str
    seq: int
    kind: str
    what: str


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a verification."""

    ok: bool
    decisions: int
    orders: int
    first_difference: FirstDifference | None
    entries: int
    frames: int
    """Output frames made again."""
    regenerated: int
    """Of these, frames that the journal lacks."""
    differing: int


@dataclass(slots=True, kw_only=True)
class _Replay:
    """A verification on its way."""

    bundles: SuspectReader
    keep: Keep
    session: str = ""
    state: State = field(default_factory=State)
    decisions: int = 0
    orders: int = 0
    entries: int = 0
    frames: int = 0
    regenerated: int = 0
    differing: int = 0
    first: FirstDifference | None = None
    faults: dict[str, str] = field(default_factory=dict)
    """Digest of a bundle that is not what was journaled -> why."""
    lost: str = ""
    """Digest of a loaded bundle that cannot be used at all: nothing is folded after it, only its first decision is sought."""
    broken: bool = False


def verify_replay(entries: Iterable[JournalEntry], bundles: SuspectReader, *, session: str = "", keep: Keep = lambda _: None) -> Replay:
    """Fold and compare.

    Parameters
    ----------
    entries : the journal. bundles : reads a bundle and says what is wrong with it; raises where it cannot be used at all.
    session : compare the outputs of this session only (everything before is folded all the same).
    keep : receives the regenerated journal frame by frame.
    """
    run = _Replay(bundles=bundles, keep=keep, session=session)
    for event, recorded in _groups(entries, run):
        _compare_step(run, event, recorded)
        if run.broken:
            break
    if run.lost and run.first is None:
        run.first = FirstDifference(decision_id="", session=run.state.session, seq=0, kind="model_loaded", what=run.faults[run.lost])
    return Replay(
        ok=run.first is None,
        decisions=run.decisions,
        orders=run.orders,
        first_difference=run.first,
        entries=run.entries,
        frames=run.frames,
        regenerated=run.regenerated,
        differing=run.differing,
    )


def _groups(entries: Iterable[JournalEntry], run: _Replay) -> Iterator[tuple[JournalEntry, list[JournalEntry]]]:
    """Each input with the outputs recorded after it."""
    asked: JournalEntry | None = None
    outputs: list[JournalEntry] = []
    for entry in entries:
        run.entries += 1
        if entry.kind in e.INPUT_KINDS:
            if asked is not None:
                yield asked, outputs
            asked, outputs = entry, []
        else:
            outputs.append(entry)
    if asked is not None:
        yield asked, outputs


def _compare_step(run: _Replay, asked: JournalEntry, recorded: list[JournalEntry]) -> None:
    event = cast("e.Input", asked.frame)
    run.keep(event)
    if run.lost:
        _seek_decision(run, recorded)
        return
    try:
        if isinstance(event, e.ModelLoaded):
            _attach(run, event)
            if run.lost:
                return
        run.state, commands = step(run.state, event)
    except HedgefundError as error:
        made = _first_decision(recorded)
        _differs(run, asked, f"the machine refuses this input: {error.message}", made)
        run.broken = True
        return
    outputs = [command.frame for command in commands if isinstance(command, Record)]
    for frame in outputs:
        run.keep(frame)
    if run.session and run.state.session != run.session:
        return
    run.frames += len(outputs)
    run.decisions += sum(isinstance(frame, e.DecisionMade) for frame in outputs)
    run.orders += sum(len(frame.orders) for frame in outputs if isinstance(frame, e.OrdersIntended))
    _match(run, asked, outputs, recorded)
    _blame_bundle(run, asked, outputs)


def _attach(run: _Replay, event: e.ModelLoaded) -> None:
    """Use the bundle as it lies there, whatever its digest: what it changes then shows in the decisions."""
    try:
        bundle, fault = run.bundles(event.digest)
    except (ModelMismatch, ModelUnavailable) as error:
        run.faults[event.digest], run.lost = error.message, event.digest
        return
    if fault:
        run.faults[event.digest] = fault
    run.state = attach_bundle(run.state, bundle)


def _seek_decision(run: _Replay, recorded: list[JournalEntry]) -> None:
    for entry in recorded:
        frame = entry.frame
        if isinstance(frame, e.DecisionMade) and frame.model_digest == run.lost:
            _differs(run, entry, f"its model cannot be used: {run.faults[run.lost]}", frame)
            run.broken = True
            return


def _match(run: _Replay, asked: JournalEntry, outputs: list[e.Output], recorded: list[JournalEntry]) -> None:
    """Recorded outputs must be the regenerated ones, in order, with gaps where some were deleted."""
    waiting = list(recorded)
    for frame in outputs:
        content, kind = e.encode(frame), e.kind_of(frame)
        if waiting and waiting[0].payload == content:
            waiting.pop(0)
        elif waiting and waiting[0].kind == kind and _name(waiting[0].frame) == _name(frame):
            entry = waiting.pop(0)
            _differs(run, entry, _what(entry.frame, frame), frame if isinstance(frame, e.DecisionMade) else None)
        else:
            run.regenerated += 1
    for entry in waiting:
        decision = entry.frame if isinstance(entry.frame, e.DecisionMade) else None
        _differs(run, entry, f"nothing regenerates this {entry.kind}", decision)


def _differs(run: _Replay, entry: JournalEntry, what: str, decision: e.DecisionMade | None) -> None:
    """Remember the first difference; a decision that differs later takes its place, because decisions are what is asked for."""
    run.differing += 1
    if run.first is not None and (run.first.decision_id or decision is None):
        return
    earlier = "" if run.first is None else f"; before it entry {run.first.seq} ({run.first.kind}): {run.first.what}"
    run.first = FirstDifference(
        decision_id="" if decision is None else decision.decision_id,
        session=run.state.session,
        seq=entry.seq,
        kind=entry.kind,
        what=what + earlier,
    )


def _blame_bundle(run: _Replay, asked: JournalEntry, outputs: list[e.Output]) -> None:
    """A bundle that is not the journaled one fails its first decision, even if nothing else in it came out different."""
    for frame in outputs:
        if isinstance(frame, e.DecisionMade) and frame.model_digest in run.faults:
            fault = run.faults.pop(frame.model_digest)
            if run.first is None or not run.first.decision_id:
                _differs(run, asked, fault, frame)
            elif run.first.decision_id == frame.decision_id:
                run.first = msgspec.structs.replace(run.first, what=f"{fault}; {run.first.what}")


def _first_decision(recorded: list[JournalEntry]) -> e.DecisionMade | None:
    return next((entry.frame for entry in recorded if isinstance(entry.frame, e.DecisionMade)), None)


def _name(frame: e.Frame) -> str:
    """What makes two frames of a kind the same one."""
    if isinstance(frame, e.DecisionMade):
        return frame.decision_id
    if isinstance(frame, _ORDERS):
        return frame.orders.first.decision_id if frame.orders.first else ""
    return str(frame.ts)


def _what(recorded: e.Frame, now: e.Frame) -> str:
    """Names of the fields that differ, with values where they are short."""
    if isinstance(recorded, _ORDERS) and isinstance(now, _ORDERS):
        pairs = zip(recorded.orders, now.orders, strict=False)
        changed = next(((was, then) for was, then in pairs if was != then), None)
        return f"{len(recorded.orders)} orders recorded, {len(now.orders)} regenerated" if changed is None else _words(*changed)
    return _words(recorded, now)


def _words(recorded: msgspec.Struct, now: msgspec.Struct) -> str:
    found = []
    for name in now.__struct_fields__:
        was, then = getattr(recorded, name), getattr(now, name)
        if was != then:
            words = f"{name}: recorded {was}, regenerated {then}"
            found.append(words if len(words) <= 160 else f"{name} differs")
    return "; ".join(found) or "the bytes differ"
