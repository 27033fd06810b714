"""Snapshots of the state, which only shorten a restart: the journal stays the truth, and `replay --verify` never reads one.

A snapshot is used only if our key signed it, the journal's chain has its hash at its number, and the same program made it, because
another program may make another state of the same inputs. Otherwise the journal is folded from its start, which is always possible.
"""

from __future__ import annotations

import functools
import hashlib
import typing
from dataclasses import replace as replaced
from datetime import datetime
from pathlib import Path

import msgspec

import hedgefund_core
from hedgefund_core.account import State
from hedgefund_core.bundle import Bundle
from hedgefund_core.quant.features.window import Window
from hedgefund_core.quant.panel_codec import pack_panel, unpack_panel
from hedgefund_core.trading.instrument import Instruments

_APART = ("window", "bundles")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A state at an entry. ``place`` and ``ts`` are those of ``recovery.Recovered``."""

    seq: int
    hash: bytes
    program: str
    place: tuple[str, int] | None
    ts: datetime
    fields: dict[str, msgspec.Raw]
    ring: bytes | None
    ring_version: str
    bundles: tuple[str, ...]


@functools.cache
def program_digest() -> str:
    """sha256 over the source of the core: another program makes other states of the same inputs."""
    digest = hashlib.sha256()
    root = Path(hedgefund_core.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def pack(state: State, *, seq: int, digest: bytes, place: tuple[str, int] | None, ts: datetime) -> bytes:
    """A state as bytes."""
    fields = {name: msgspec.Raw(msgspec.msgpack.encode(getattr(state, name))) for name in State.__struct_fields__ if name not in _APART}
    snapshot = Snapshot(
        seq=seq,
        hash=digest,
        program=program_digest(),
        place=place,
        ts=ts,
        fields=fields,
        ring=None if state.ring is None else pack_panel(state.ring),
        ring_version="" if state.ring is None else state.ring.data_version,
        bundles=tuple(sorted(state.bundles)),
    )
    return msgspec.msgpack.encode(snapshot)


def unpack(content: bytes) -> Snapshot:
    """The snapshot of `pack`'s bytes; raises ``msgspec.MsgspecError``."""
    return msgspec.msgpack.decode(content, type=Snapshot)


def state_of(snapshot: Snapshot, bundle_of: typing.Callable[[str], Bundle]) -> State:
    """The state itself; raises ``msgspec.MsgspecError`` where fields are not those of this program."""
    hints = typing.get_type_hints(State)
    values = {name: msgspec.msgpack.decode(raw, type=hints[name]) for name, raw in snapshot.fields.items()}
    values["instruments"] = Instruments.of(values["instruments"])
    ring = None if snapshot.ring is None else replaced(unpack_panel(snapshot.ring), data_version=snapshot.ring_version)
    return State(
        **values, window=None if ring is None else Window.of(ring), bundles={digest: bundle_of(digest) for digest in snapshot.bundles}
    )
