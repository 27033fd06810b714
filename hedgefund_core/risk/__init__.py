"""RULES: the registry, in the order in which verdicts are shown. A new rule is one file and one line here.

tests/contract/test_rules.py picks it up by itself. All rules judge every order; none stops another. Triggers of the account are in
``triggers``, scalers of weights in ``quant.portfolio.scaling``.
"""

from __future__ import annotations

from hedgefund_core.risk import (
    buying_power,
    concentration,
    duplicate_intent,
    frozen_instrument,
    gross_net,
    ladder,
    market_hours,
    model_age,
    open_orders,
    order_quantity,
    order_sanity,
    order_value,
    position_weight,
    price_collar,
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

__all__ = ["RULES", "Rule"]
