"""Where an order of a live account comes from, when no model asked for it: a line of a file of targets, a person, or an emergency."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hedgefund_core.trading import events as e
from live_executor.ports import JournalEntry
from live_executor.queries.story import Recorded, Story

KINDS = ("order_requested", "request_answered", "emergency_adopted")


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who or what asked. ``by`` is targets, person, emergency, ladder or executor."""

    by: str
    person: str = ""
    reason: str = ""
    file: str = ""
    sha256: str = ""
    line: int = 0
    """Of the file, where it is still the one that was read; 0 otherwise."""
    text: str = ""
    note: str = ""


def origin_of(story: Story, entries: Iterable[JournalEntry], recorded: Recorded | None, order_id: str) -> Origin | None:
    """What is behind an order of a live account; None of an order that a model asked for."""
    order = story.orders[order_id]
    person = _person(entries, order_id)
    if person is not None:
        return person
    if story.state.is_replayed or order.purpose.value in {"model", "decay"}:
        return None
    if order.purpose.value == "flatten":
        ladder = story.state.ladder
        return Origin(by="ladder", person=ladder.person, reason=ladder.cause)
    if order.purpose.value == "targets" and recorded is not None and recorded.due.origin:
        return _line_of(recorded.due.origin, order.symbol)
    return Origin(by="executor", note="the journal does not say which file it was")


def _person(entries: Iterable[JournalEntry], order_id: str) -> Origin | None:
    asked: dict[str, e.OrderRequested] = {}
    for entry in entries:
        frame = entry.frame
        if isinstance(frame, e.OrderRequested):
            asked[frame.request_id] = frame
        elif isinstance(frame, e.RequestAnswered) and order_id in frame.orders and frame.request_id in asked:
            found = asked[frame.request_id]
            return Origin(by="person", person=found.person, reason=found.reason)
        elif isinstance(frame, e.EmergencyAdopted) and frame.order is not None and frame.order.client_order_id == order_id:
            return Origin(by="emergency", person=frame.person, reason=frame.reason, note=f"act {frame.number} of the emergency log")
    return None


def _line_of(origin: str, symbol: str) -> Origin:
    """The line that names the symbol, if the file is still the one that was read."""
    digest, _, name = origin.partition(" ")
    found = Origin(by="targets", file=name, sha256=digest)
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        return msgspec.structs.replace(found, note=f"the file cannot be read any more: {error.strerror}")
    if hashlib.sha256(content).hexdigest() != digest:
        return msgspec.structs.replace(found, note="the file has changed since: the journal keeps the targets that were used")
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if f'"{symbol}"' in line or line.split(",")[0].strip() == symbol:
            return msgspec.structs.replace(found, line=number, text=line.strip()[:200])
    return found
