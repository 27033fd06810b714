"""From target weights to intended trades, in Decimal: whole lots toward zero, a no-trade band, exits always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from hedgefund_core.trading.instrument import ZERO, Instrument, to_lots
from hedgefund_core.trading.order import Leg, Side


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """One wanted trade: an order before it has an identity or a verdict."""

    instrument: Instrument
    side: Side
    quantity: Decimal
    leg: Leg
    price: Decimal


class NoTradeBand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trade only if the change of weight exceeds ``minimum_change`` of equity or ``relative_change`` of the target."""

    minimum_change: Decimal = Decimal("0.0025")
    relative_change: Decimal = Decimal("0.20")

    def skips(self, change_value: Decimal, target_value: Decimal, equity: Decimal) -> bool:
        """Whether a change is too small to be worth its cost; an exit (target zero) never is."""
        if target_value == ZERO:
            return False
        size = abs(change_value)
        return size <= self.minimum_change * equity and size <= self.relative_change * abs(target_value)


def target_quantity(weight: Decimal, equity: Decimal, price: Decimal, lot: Decimal) -> Decimal:
    """Signed quantity worth ``weight`` (a fraction) of ``equity`` at ``price``, cut toward zero to whole lots."""
    return to_lots(weight * equity / price, lot)


def intents_toward(instrument: Instrument, held: Decimal, target: Decimal, price: Decimal) -> list[Intent]:
    """The trades from ``held`` to ``target``: crossing zero takes a closing and an opening leg."""
    change = target - held
    if change == ZERO:
        return []
    side = Side.BUY if change > ZERO else Side.SELL
    if held * target < ZERO:
        legs = [(Leg.CLOSE, abs(held)), (Leg.OPEN, abs(target))]
    elif held != ZERO and abs(target) < abs(held):
        legs = [(Leg.CLOSE, abs(change))]
    else:
        legs = [(Leg.OPEN, abs(change))]
    return [Intent(instrument=instrument, side=side, quantity=size, leg=leg, price=price) for leg, size in legs]


def rebalance(
    instruments: Sequence[Instrument],
    target_weights: Mapping[str, Decimal],
    held: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
    equity: Decimal,
    band: NoTradeBand,
) -> list[Intent]:
    """Intended trades, closing legs first, then by instrument id. An instrument without a target or a price is left alone."""
    intents: list[Intent] = []
    for instrument in instruments:
        key = instrument.instrument_id
        weight, price = target_weights.get(key), prices.get(key)
        if weight is None or price is None:
            continue
        quantity = held.get(key, ZERO)
        target = target_quantity(weight, equity, price, instrument.lot)
        if not band.skips((target - quantity) * price, weight * equity, equity):
            intents.extend(intents_toward(instrument, quantity, target, price))
    return sorted(intents, key=lambda intent: (intent.leg is Leg.OPEN, intent.instrument.instrument_id))
