"""Identifiers. A ``client_order_id`` is derived from the intent, so that a restart renames nothing.

The broker refuses a reused id, therefore the same intent can never become two orders (contracts: Identity).
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from typing import NewType

InstrumentId = NewType("InstrumentId", str)
"""Stable id of an instrument; symbols are dated names of it."""
Symbol = NewType("Symbol", str)
ClientOrderId = NewType("ClientOrderId", str)
BrokerOrderId = NewType("BrokerOrderId", str)
DecisionId = NewType("DecisionId", str)
ModelVersion = NewType("ModelVersion", str)

MAX_CLIENT_ORDER_ID_LENGTH = 48
_LETTERS, _END = b"abcdefghijklmnopqrstuvwxyz234567", b"-r0\n"
"""Of base32 in lower case, and what ends the id of a first attempt: numbered in this order where ids are made together."""
_NUMBER_OF = bytes.maketrans(_LETTERS, bytes(range(32)))
_CHARACTER_OF = (_LETTERS + _END).ljust(256)
_SYMBOL = re.compile(r"^[A-Z0-9][A-Z0-9.\-/^_]{0,31}$")
_OWN_ORDER = re.compile(r"[a-z2-7]{32}-r\d+")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_account(text: str) -> bool:
    """Whether ``text`` can name an account: it is a folder's name, and no way out of the folder."""
    return _ACCOUNT.fullmatch(text) is not None


def is_symbol(text: str) -> bool:
    """Whether ``text`` has the form of a symbol (upper case, 1 to 32 characters)."""
    return _SYMBOL.match(text) is not None


def _fives(*parts: str) -> int:
    """The first 160 bits of a sha256 over the parts: 32 letters of five bits."""
    return int.from_bytes(hashlib.sha256("\x1f".join(parts).encode()).digest()[:20])


def _base32(bits: int) -> str:
    return base64.b32encode(bits.to_bytes(20)).decode().lower()


def client_order_id(  # noqa: PLR0913 - the seven parts are the identity itself
    *,
    account: str,
    book: str,
    session: str,
    decision: str,
    instrument_id: str,
    leg: str,
    slice_number: int = 0,
    attempt: int = 0,
) -> ClientOrderId:
    """Derive the id of an order from its intent; ``attempt`` rises only after proof of a terminal state.

    The hash of the decision and that of what it does in an instrument are joined by exclusive or: the latter is the same every day, so
    ``order_letters`` keeps it.
    """
    body = _base32(_fives(account, book, session, decision) ^ _fives(instrument_id, leg, str(slice_number)))
    return ClientOrderId(f"{body}-r{attempt}")


def decision_letters(*, account: str, book: str, session: str, decision: str) -> bytes:
    """A decision's part of the ids of its orders, a number a character."""
    return _base32(_fives(account, book, session, decision)).encode().translate(_NUMBER_OF) + bytes(len(_END))


def order_letters(instrument_id: str, leg: str) -> bytes:
    """The other part, of an order that goes out whole: joined with the first by exclusive or, number by number."""
    return _base32(_fives(instrument_id, leg, "0")).encode().translate(_NUMBER_OF) + bytes(range(32, 32 + len(_END)))


def written(numbers: bytes) -> list[str]:
    """The ids that both parts joined make, one after the other."""
    return numbers.translate(_CHARACTER_OF).decode().split()


def is_own_order(text: str) -> bool:
    """Whether an id of an order has the form of ours: another is somebody else's."""
    return _OWN_ORDER.fullmatch(text) is not None


@lru_cache(maxsize=16)
def decision_id(*, account: str, book: str, session: str, kind: str) -> DecisionId:
    """Id of the decision of a book at a session: one per (account, book, session, kind), so a late run is the same run."""
    return DecisionId(f"{session}-{kind}-{_base32(_fives(account, book, session, kind))[:10]}")
