"""The hash chain of the journal and the signature of its head: pure functions over bytes.

Layout of what is hashed, so that anyone can check a journal with other tools::

    hash(n) = sha256( hash(n-1)          32 bytes; 32 zero bytes before the first entry
                    ‖ seq                8 bytes, unsigned, big-endian, counted from 1 without gaps
                    ‖ ts                 8 bytes, signed, big-endian, microseconds since 1970-01-01 UTC
                    ‖ kind               ASCII, only a-z and _
                    ‖ payload )          canonical JSON; it begins with "{", which ends the kind without a length

    signature = Ed25519( "hedgefund-journal-head" ‖ seq (8) ‖ hash (32) ‖ signed_at (8) )
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from live_executor.ports import JournalEntry

GENESIS = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(ts: datetime) -> int:
    """An aware time as whole microseconds since 1970, without passing through a float."""
    return (ts - _EPOCH) // _MICROSECOND


def chain_hash(previous: bytes, seq: int, ts: int, kind: str, payload: bytes) -> bytes:
    """Hash of an entry that follows the entry with hash ``previous``."""
    digest = hashlib.sha256(previous + struct.pack(">Qq", seq, ts) + kind.encode())
    digest.update(payload)  # not copied: it may be long
    return digest.digest()


class SignedHead(msgspec.Struct, frozen=True, kw_only=True):
    """A statement of the key's owner: up to ``seq`` the chain was exactly this."""

    seq: int
    hash: bytes
    signed_at: int
    key_id: str
    signature: bytes

    @property
    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        return head_bytes(self.seq, self.hash, self.signed_at)


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Result of walking the chain: ``first_broken`` is the number of the first entry that cannot be trusted."""

    ok: bool
    entries: int
    first_broken: int | None = None
    reason: str = ""
    signed_through: int = 0
    """Newest entry that a valid signed head covers."""
    outside_head: int = 0
    """Entry of the signed head that is kept outside the data folder; 0 = none is kept there."""
    other_journals: tuple[str, ...] = ()
    """Journals that this account once had: it was deleted and opened anew, or this one was put in its place."""


def head_bytes(seq: int, digest: bytes, signed_at: int) -> bytes:
    """The bytes of a head that are signed."""
    return b"hedgefund-journal-head" + struct.pack(">Q", seq) + digest + struct.pack(">q", signed_at)


def verify_chain(entries: Iterable[JournalEntry], heads: Iterable[SignedHead], is_genuine: Callable[[SignedHead], bool]) -> Verification:
    """Walk the chain; a signed head also shows what an honest re-hash or a cut-off tail would hide.

    Parameters
    ----------
    entries : as stored, in order of seq.
    heads : signed heads in any order.
    is_genuine : checks the signature of a head with a trusted key.
    """
    signed = sorted(heads, key=lambda head: head.seq)
    for head in signed:
        if not is_genuine(head):
            return Verification(ok=False, entries=0, first_broken=head.seq, reason=f"signature of the head at {head.seq} is not genuine")
    expected = {head.seq: head.hash for head in signed}
    previous, count, covered = GENESIS, 0, 0
    for entry in entries:
        reason = _fault(entry, count + 1, previous, expected)
        if reason:
            broken = min(entry.seq, count + 1)
            return Verification(ok=False, entries=count, first_broken=broken, reason=reason, signed_through=covered)
        previous, count = entry.hash, entry.seq
        covered = entry.seq if entry.seq in expected else covered
    if signed and signed[-1].seq > count:
        reason = f"the end is missing: a head was signed at {signed[-1].seq}, the journal ends at {count}"
        return Verification(ok=False, entries=count, first_broken=count + 1, reason=reason, signed_through=covered)
    return Verification(ok=True, entries=count, signed_through=covered)


def _fault(entry: JournalEntry, number: int, previous: bytes, signed: dict[int, bytes]) -> str:
    if entry.seq != number:
        return f"entry {number} is missing: the next one stored is {entry.seq}"
    if chain_hash(previous, entry.seq, entry.ts, entry.kind, entry.payload) != entry.hash:
        return f"entry {entry.seq} ({entry.kind!r}) does not match its hash"
    if entry.seq in signed and signed[entry.seq] != entry.hash:
        return f"the chain was re-hashed at or before entry {entry.seq}: its signed head says otherwise"
    return ""
