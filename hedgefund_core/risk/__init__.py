"""RULES: the registry, in the order in which verdicts are shown. A new rule is one file and one line here.

LIVE_RULES judge beside them where there are quotes, a broker's own figures and a wall clock: in a replay there is nothing to measure.
tests/contract/test_rules.py picks them up by itself. All rules judge every order; none stops another. Triggers of the account are in
``triggers``, scalers of weights in ``quant.portfolio.scaling``.
"""

from __future__ import annotations

from hedgefund_core.risk import (
    broker_buying_power,
    buying_power,
    concentration,
    duplicate_intent,
    entries_gate,
    frozen_instrument,
    gross_net,
    ladder,
    market_hours,
    model_age,
    open_orders,
    order_quantity,
    order_rate,
    order_sanity,
    order_value,
    position_weight,
    price_collar,
    quote_age,
    self_cross,
    short_availability,
    signal_sanity,
    stale_data,
)
from hedgefund_core.risk.rule import Rule

RULES: tuple[Rule, ...] = (
    order_sanity.RULE,
    duplicate_intent.RULE,
    price_collar.RULE,
    ladder.RULE,
    frozen_instrument.RULE,
    market_hours.RULE,
    stale_data.RULE,
    model_age.RULE,
    *signal_sanity.RULES,
    order_quantity.RULE,
    order_value.RULE,
    position_weight.RULE,
    *gross_net.RULES,
    *concentration.RULES,
    buying_power.RULE,
    *open_orders.RULES,
)
"""Sanity first, so that the first denial shown is the plainest."""

LIVE_RULES: tuple[Rule, ...] = (
    entries_gate.RULE,
    quote_age.RULE,
    short_availability.RULE,
    self_cross.RULE,
    broker_buying_power.RULE,
    *order_rate.RULES,
)

__all__ = ["LIVE_RULES", "RULES", "Rule"]
