"""Translates a broker's activity codes. Source: Alpaca's table of activity types (2026), the most complete one we know."""

from __future__ import annotations

import re
from decimal import Decimal

from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.ledger import CashKind
from hedgefund_core.trading.observed import ActivitySighting

SPLITS = frozenset({"SPLIT", "SSO", "SSP", "FSPLIT", "RSPLIT"})
NAMES = frozenset({"NC", "SC"})
"""A name or symbol has changed: nothing moves, and whoever meets the new one asks whose it is."""
_CODES = {
    "FEE": CashKind.FEE,
    "CFEE": CashKind.FEE,
    "PTC": CashKind.FEE,
    "PTR": CashKind.FEE,
    "DFEE": CashKind.FEE,
    "INT": CashKind.INTEREST,
    "INTNRA": CashKind.INTEREST,
    "INTTW": CashKind.INTEREST,
    "SWP": CashKind.INTEREST,
    "CIL": CashKind.CASH_IN_LIEU,
    "MISC": CashKind.ADJUSTMENT,
}
_MOVED = frozenset({"CSD", "CSW", "CSR", "JNL", "JNLC", "ACATC", "TRANS"})
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*(?:for|:|-for-)\s*(\d+(?:\.\d+)?)", re.IGNORECASE)


def kind_of(line: ActivitySighting) -> CashKind | None:
    """Kind of a cash line; None for an activity type that is not known here."""
    code = line.activity_type
    if code.startswith("DIV"):
        return CashKind.DIVIDEND
    if code in _MOVED:
        return CashKind.DEPOSIT if (line.net_amount or ZERO) >= ZERO else CashKind.WITHDRAWAL
    return _CODES.get(code)


def ratio_in_words(text: str) -> Decimal | None:
    """New shares for an old one, where a text says it: ``4 for 1``, ``4:1``, ``1-for-10``."""
    found = _RATIO.search(text)
    if found is None or Decimal(found[2]) == ZERO or Decimal(found[1]) == ZERO:
        return None
    return Decimal(found[1]) / Decimal(found[2])
