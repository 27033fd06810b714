"""Requests of people to a running executor: small files in the account's folder, and the HALT file.

A command is written under another name and renamed into place, so that it is never read half-written. The executor journals it as an
input and then removes the file.
"""

from __future__ import annotations

import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from hedgefund_core.layout import commands_folder, halt_file
from hedgefund_core.trading.events import HaltRequested, ResumeRequested
from hedgefund_core.trading.order import OrderType, Side, TimeInForce
from hedgefund_core.trading.state import Level
from live_executor.logging import logger
from live_executor.ports import UNREADABLE

_log = logger("commands")
_MIRROR = "mirror of the latch; deleting this file resumes nothing\n"


class Halt(msgspec.Struct, frozen=True, kw_only=True, tag="halt", forbid_unknown_fields=True):
    """Stop at a level of 1 to 4."""

    level: int
    reason: str
    person: str


class Resume(msgspec.Struct, frozen=True, kw_only=True, tag="resume", forbid_unknown_fields=True):
    """Trade again."""

    reason: str
    person: str


class Place(msgspec.Struct, frozen=True, kw_only=True, tag="place", forbid_unknown_fields=True):
    """A person's order. ``request_id`` makes asking twice the same as asking once; empty ``time_in_force``: as the market stands."""

    request_id: str
    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None
    time_in_force: TimeInForce | None
    reason: str
    person: str


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel", forbid_unknown_fields=True):
    """Cancel one order, or all that work (empty id)."""

    request_id: str
    client_order_id: str
    reason: str
    person: str


class Adopt(msgspec.Struct, frozen=True, kw_only=True, tag="adopt", forbid_unknown_fields=True):
    """Take the broker's positions and cash as they are, where they differ from ours: nothing is traded."""

    request_id: str
    reason: str
    person: str


class LookAtAlias(msgspec.Struct, frozen=True, kw_only=True, tag="look_at_alias", forbid_unknown_fields=True):
    """The registry's alias may have moved: look now instead of at the next turn."""


class RollBack(msgspec.Struct, frozen=True, kw_only=True, tag="roll_back", forbid_unknown_fields=True):
    """Go back to the model that was in use before."""

    reason: str
    person: str


OperatorCommand = Halt | Resume | Place | Cancel | Adopt | LookAtAlias | RollBack
Latch = Halt | Resume
_decoder: msgspec.json.Decoder[OperatorCommand] = msgspec.json.Decoder(OperatorCommand)


def send(data: Path, account: str, command: OperatorCommand) -> Path:
    """Leave a command for the executor; commands are taken in the order in which they were left.

    Whatever else somebody put into the folder has no number and keeps nobody from leaving a halt there.
    """
    folder = data / commands_folder(account)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = (path.stem.partition("-")[0] for path in folder.glob("*-*.json"))
    number = max((int(text) for text in numbers if text.isdecimal()), default=0) + 1
    fresh = folder / f".{os.getpid()}.tmp"
    fresh.write_bytes(msgspec.json.encode(command))
    final = folder / f"{number:08d}-{os.getpid()}.json"
    fresh.rename(final)
    return final


def latch_event(command: Latch, session: str, ts: datetime) -> HaltRequested | ResumeRequested:
    """A halt or resume as the journaled input."""
    if isinstance(command, Halt):
        return HaltRequested(ts=ts, level=command.level, reason=command.reason, person=command.person, session=session)
    return ResumeRequested(ts=ts, reason=command.reason, person=command.person, session=session)


def _read(path: Path) -> OperatorCommand | None:
    try:
        return _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None  # taken back by the one who left it
    except (*UNREADABLE, OSError) as error:
        return Halt(level=int(Level.HALTED), reason=f"unreadable command {path.name}: {error}", person="unknown")


class Mailbox:
    """The receiving end."""

    def __init__(self, data: Path, account: str) -> None:
        self._folder, self._halt = data / commands_folder(account), data / halt_file(account)

    def waiting(self, session: str, ts: datetime) -> list[tuple[Path, HaltRequested | ResumeRequested]]:
        """Commands as inputs, oldest first, each with the file to remove once it is journaled.

        A file that cannot be read is taken as a request for the strictest halt: somebody wanted something urgently.
        """
        return [(path, latch_event(command, session, ts)) for path, command in self.commands() if isinstance(command, Halt | Resume)]

    def commands(self) -> list[tuple[Path, OperatorCommand]]:
        """Everything that waits, oldest first; a file that cannot be read is the strictest halt."""
        try:
            paths = sorted(self._folder.glob("*.json"))
        except FileNotFoundError:
            return []
        return [(path, command) for path in paths if (command := _read(path)) is not None]

    def halt_file_event(self, session: str, ts: datetime) -> HaltRequested | None:
        """A HALT file that a person made (ours says that it is a mirror); one that is there and cannot be read is a person's."""
        try:
            if self._halt.read_text(errors="replace") == _MIRROR:
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("the HALT file cannot be read", reason=str(error))
        return HaltRequested(ts=ts, level=int(Level.HALTED), reason="HALT file", person="file", session=session)

    def mirror(self, *, on: bool) -> None:
        """Make the HALT file show the latch. The journal is the truth of it: a disk that takes no file keeps no cancel from leaving.

        A file that is there stays: if it is a person's, it asks for more than a mirror does, and may not have been read yet.
        """
        try:
            if on and self._halt.exists():
                return
            if on:  # renamed into place: a file that is still empty would be taken for a person's
                fresh = self._halt.with_name(f".HALT.{os.getpid()}")
                fresh.write_text(_MIRROR)
                fresh.replace(self._halt)
            else:
                self._halt.unlink(missing_ok=True)
        except OSError as error:
            _log.error("the HALT file does not show the latch", latched=on, reason=str(error))
