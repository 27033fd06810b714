"""Identifiers. A ``client_order_id`` is derived from the intent, so that a restart renames nothing.

The broker refuses a reused id, therefore the same intent can never become two orders (contracts: Identity).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import NewType

InstrumentId = NewType("InstrumentId", str)
"""Stable id of an instrument; symbols are dated names of it."""
Symbol = NewType("Symbol", str)
ClientOrderId = NewType("ClientOrderId", str)
BrokerOrderId = NewType("BrokerOrderId", str)
DecisionId = NewType("DecisionId", str)
ModelVersion = NewType("ModelVersion", str)

MAX_CLIENT_ORDER_ID_LENGTH = 48
_SYMBOL = re.compile(r"^[A-Z0-9][A-Z0-9.\-/^_]{0,31}$")
_OWN_ORDER = re.compile(r"[a-z2-7]{32}-r\d+")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_account(text: str) -> bool:
    """Whether ``text`` can name an account: it is a folder's name, and no way out of the folder."""
    return _ACCOUNT.fullmatch(text) is not None


def is_symbol(text: str) -> bool:
    """Whether ``text`` has the form of a symbol (upper case, 1 to 32 characters)."""
    return _SYMBOL.match(text) is not None


def _base32(*parts: str) -> str:
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:20]
    return base64.b32encode(digest).decode().lower()


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
    """Derive the id of an order from its intent; ``attempt`` rises only after proof of a terminal state."""
    body = _base32(account, book, session, decision, instrument_id, leg, str(slice_number))
    return ClientOrderId(f"{body}-r{attempt}")


def intent_digests(intents: Iterable[tuple[str, str]], *, account: str, book: str, session: str, decision: str) -> bytes:
    """The 20 bytes each that ``client_order_id`` writes in base32, of one decision's instruments and legs that go out whole."""
    shared = f"{account}\x1f{book}\x1f{session}\x1f{decision}"
    hashed = hashlib.sha256
    return b"".join([hashed(f"{shared}\x1f{instrument_id}\x1f{leg}\x1f0".encode()).digest()[:20] for instrument_id, leg in intents])


def is_own_order(text: str) -> bool:
    """Whether an id of an order has the form of ours: another is somebody else's."""
    return _OWN_ORDER.fullmatch(text) is not None


def decision_id(*, account: str, book: str, session: str, kind: str) -> DecisionId:
    """Id of the decision of a book at a session: one per (account, book, session, kind), so a late run is the same run."""
    return DecisionId(f"{session}-{kind}-{_base32(account, book, session, kind)[:10]}")
