"""What only a decision on the wall clock knows: quotes, gates, what the broker and the market allow, how much was sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.trading.events import Row
from hedgefund_core.trading.instrument import Instrument

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveInputs:
    """What a decision on the wall clock knows beside the rest. ``n`` instruments.

    Attributes
    ----------
    opened : when the journal began. A restart keeps it, so renames nothing; an account opened anew after its journal was lost has new
        ids, because the broker still knows what the lost ones did.
    number : of the decision in the account: two decisions of a session are two intents.
    in_session : whether prices of the running session are known and its hours last.
    bid, ask : null = no quote. bands : lowest and highest price at which each may trade now, None = of none is one known.
    quote_age : float64 (n,), seconds, NaN = no price in the session.
    quote_patience : float64 (n,), seconds that a quote may be old by the instrument's own rhythm, NaN = not known.
    seconds_left : until the session closes, NaN = not known.
    quantities : signed shares to arrive at, given from outside; an instrument that is in neither weights nor quantities is left alone.
    gates, no_short, buying_power, sent_minute, sent_session : as in ``RiskContext``; buying_power None = the broker has not said.
    closed : instruments that do not trade now. waiting : instruments in which something is to follow already. barred : instrument and
        leg of orders that the broker refused too often. left_alone : instruments in which somebody else has traded (no target undoes
        that before a person has resumed), or which split before the next open and are held in old shares.
    whole_only : instruments held with a fraction that the broker does not trade.
    """

    opened: str
    number: int
    in_session: bool
    bid: Row
    ask: Row
    bands: tuple[Row, Row] | None = None
    quote_age: Floats
    quote_patience: Floats
    seconds_left: float
    quantities: Mapping[str, Decimal]
    gates: tuple[str, ...]
    no_short: frozenset[str]
    closed: frozenset[str]
    waiting: frozenset[str]
    barred: frozenset[str]
    left_alone: frozenset[str]
    whole_only: frozenset[str] = frozenset()
    buying_power: Decimal | None
    sent_minute: int
    sent_session: int


def members(names: Collection[str], instruments: Sequence[Instrument]) -> NDArray[np.bool_]:
    """Whether each instrument is one of ``names``: bool (n,)."""
    if not names:
        return np.zeros(len(instruments), dtype=np.bool_)
    return np.array([instrument.instrument_id in names for instrument in instruments], dtype=np.bool_)


def context_of(live: LiveInputs | None, instruments: Sequence[Instrument]) -> dict[str, Any]:
    """The part of a risk context that a replay does not have."""
    if live is None:
        return {}
    return {
        "quote_age": live.quote_age,
        "quote_patience": live.quote_patience,
        "no_short": members(live.no_short, instruments),
        "gates": live.gates,
        "broker_buying_power": float("nan") if live.buying_power is None else float(live.buying_power),
        "sent_minute": live.sent_minute,
        "sent_session": live.sent_session,
    }


def facts_of(live: LiveInputs) -> bytes:
    """Everything of it, for the digest of a decision."""
    facts = (
        live.opened, live.number, live.in_session, live.bid, live.ask, sorted(live.quantities.items()), live.gates, sorted(live.no_short),
        sorted(live.closed), sorted(live.waiting), sorted(live.barred), sorted(live.left_alone), live.buying_power, live.sent_minute,
        live.sent_session, repr(live.seconds_left), *(live.bands or ()), *sorted(live.whole_only),
    )  # fmt: skip
    return live.quote_age.tobytes() + live.quote_patience.tobytes() + msgspec.json.encode(facts)
