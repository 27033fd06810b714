"""What every rule owes, whoever wrote it. A new rule in RULES is picked up here by itself."""

from __future__ import annotations

from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest

from hedgefund_core.risk import LIVE_RULES, RULES
from hedgefund_core.risk.engine import ALLOW, DENY, NOT_EVALUABLE, judge
from hedgefund_core.risk.rule import Rule
from tests.builders import mandate, order_batch, risk_context

NEUTRAL = mandate("market_neutral")
LONG_ONLY = mandate("long_only")
NONE = frozenset()
NAMES = [rule.name for rule in RULES]
nan = np.nan


def denials(batch, context, book=NEUTRAL, waived=NONE):  # per order the set of rules that denied it
    judged = judge(batch, context, book, waived)
    return [{result.rule for result in judged.results if result.verdict[row] == DENY} for row in range(len(batch))]


def held(quantity, m=20, **changes):  # an account that holds `quantity` shares of instrument 0
    return risk_context(m, quantity=np.array([quantity, *[0.0] * (m - 1)], dtype=np.float64), **changes)


def with_first(name, value, m=20, **changes):
    """The healthy account with another first element of a column."""
    column = getattr(risk_context(m), name).copy()
    column[0] = value
    return risk_context(m, **{name: column}, **changes)


def book_of(*weights, m=20):  # an account of a million holding these weights from instrument 1 on
    quantity = np.zeros(m)
    quantity[1 : 1 + len(weights)] = np.array(weights) * 1e4
    return risk_context(m, quantity=quantity)


# Each line: what is wrong, the order, the account, the rule that must say so.
RED_TEAM = [
    ("quantity NaN", {"quantity": nan}, risk_context(), "order_sanity"),
    ("quantity zero", {"quantity": 0.0}, risk_context(), "order_sanity"),
    ("quantity negative", {"quantity": -100.0}, risk_context(), "order_sanity"),
    ("quantity infinite", {"quantity": np.inf}, risk_context(), "order_sanity"),
    ("half a share", {"quantity": 10.5}, risk_context(), "order_sanity"),
    ("not a multiple of a lot of 100", {"quantity": 150.0, "lot": 100.0}, risk_context(), "order_sanity"),
    ("lot unknown", {"lot": nan}, risk_context(), "order_sanity"),
    ("lot zero", {"lot": 0.0}, risk_context(), "order_sanity"),
    ("unknown instrument", {"instrument": -1}, risk_context(), "order_sanity"),
    ("instrument beyond the universe", {"instrument": 20}, risk_context(), "order_sanity"),
    ("no side", {"sign": 0.0}, risk_context(), "order_sanity"),
    ("price zero", {"price": 0.0}, risk_context(), "order_sanity"),
    ("price negative", {"price": -100.0}, risk_context(), "order_sanity"),
    ("price NaN", {"price": nan}, risk_context(), "order_sanity"),
    ("limit price zero", {"limit_price": 0.0}, risk_context(), "order_sanity"),
    ("limit price infinite", {"limit_price": np.inf, "sign": -1.0}, risk_context(), "order_sanity"),
    ("reduction of nothing", {"reduction": True, "sign": -1.0}, risk_context(), "order_sanity"),
    ("reduction beyond the position", {"reduction": True, "sign": -1.0, "quantity": 101.0}, held(100.0), "order_sanity"),
    ("reduction on the wrong side", {"reduction": True, "sign": 1.0}, held(100.0), "order_sanity"),
    (
        "reduction of shares that are already being sold",
        {"reduction": True, "sign": -1.0, "quantity": 60.0},
        held(100.0, working_sell=np.array([50.0, *[0.0] * 19])),
        "order_sanity",
    ),
    ("sent before", {"duplicate": True}, risk_context(), "duplicate_intent"),
    ("a reduction sent before", {"duplicate": True, "reduction": True, "sign": -1.0}, held(100.0), "duplicate_intent"),
    ("buy limit far above the market", {"limit_price": 109.0}, risk_context(), "price_collar"),
    ("sell limit far below the market", {"limit_price": 91.0, "sign": -1.0}, risk_context(), "price_collar"),
    ("intraday limit beyond the table", {"limit_price": 103.5, "auction": False}, risk_context(), "price_collar"),
    ("reference price ten times the market", {"price": 1000.0, "quantity": 10.0}, risk_context(), "price_collar"),
    ("reference price a tenth of the market", {"price": 10.0}, risk_context(), "price_collar"),
    ("no good price ever", {}, with_first("price", nan), "price_collar"),
    ("reduction at any price", {"reduction": True, "sign": -1.0, "limit_price": 50.0}, held(100.0), "price_collar"),
    ("entry while reducing", {}, risk_context(admits_entries=False), "ladder"),
    ("entry in a frozen name", {}, with_first("frozen", True), "frozen_instrument"),
    ("entry after the cut-off", {}, risk_context(session_open=False), "market_hours"),
    ("last bar two sessions old", {}, with_first("bar_age", 2.0), "stale_data"),
    ("no bar ever", {}, with_first("bar_age", nan), "stale_data"),
    ("expired model", {}, risk_context(model_age_days=101.0), "model_age"),
    ("model of unknown age", {}, risk_context(model_age_days=nan), "model_age"),
    ("model that never said when it expires", {}, risk_context(model_expires_days=nan), "model_age"),
    ("half of the names scored", {}, risk_context(signal_coverage=0.5), "signal_coverage"),
    ("coverage unknown", {}, risk_context(signal_coverage=nan), "signal_coverage"),
    ("all scores alike", {}, risk_context(signal_dispersion=0.0), "signal_dispersion"),
    ("all scores on one side", {}, risk_context(signal_same_sign=0.95), "signal_same_sign"),
    ("the book turned over twice", {}, risk_context(batch_turnover=2.5), "decision_turnover"),
    ("more than a hundredth of the day's volume", {"quantity": 500.0}, with_first("adv", 40_000.0), "order_quantity"),
    ("volume unknown and not waived", {}, with_first("adv", nan), "order_quantity"),
    ("eleven percent in one order", {"quantity": 1100.0}, risk_context(), "order_value"),
    ("a hundred times too many (fat finger)", {"quantity": 100_000.0}, risk_context(), "order_value"),
    ("no equity", {}, risk_context(equity=0.0), "order_value"),
    ("negative equity", {}, risk_context(equity=-1.0), "position_weight"),
    ("position over the cap", {"quantity": 300.0}, held(800.0), "position_weight"),
    ("position over the cap if what works fills", {"quantity": 300.0}, with_first("working_buy", 800.0), "position_weight"),
    ("short over the cap", {"quantity": 300.0, "sign": -1.0}, held(-800.0), "position_weight"),
    ("gross over the cap", {"quantity": 500.0}, book_of(*[0.09, -0.09] * 8, 0.04), "gross_exposure"),
    ("net over the cap", {"quantity": 500.0}, book_of(*[0.0585] * 10), "net_exposure"),
    ("net short over the cap", {"quantity": 500.0, "sign": -1.0}, book_of(*[-0.0585] * 10), "net_exposure"),
    ("five large names", {"quantity": 900.0}, book_of(0.11, 0.11, -0.11, -0.11), "top_five"),
    ("concentrated book", {"quantity": 1000.0}, book_of(0.15, -0.15, 0.15, -0.15, 0.15), "herfindahl"),
    (
        "held name without a price",
        {},
        replace(held(0.0), price=np.r_[100.0, nan, [100.0] * 18], quantity=np.r_[0.0, 5.0, [0.0] * 18]),
        "gross_exposure",
    ),
    ("nothing left to buy with", {"quantity": 500.0}, book_of(*[0.1, -0.1] * 9, 0.09), "buying_power"),
    ("a sixth order in the name", {}, with_first("working_orders", 5), "open_orders"),
    ("too many orders in all", {}, risk_context(working_orders=np.full(20, 2)), "open_orders_total"),
]


@pytest.mark.parametrize(("order", "context", "rule"), [case[1:] for case in RED_TEAM], ids=[case[0] for case in RED_TEAM])
def test_a_bad_order_is_denied_by_the_rule_made_for_it(order, context, rule):
    assert rule in denials(order_batch(order), context)[0]


LIVE = {"quote_age": np.full(20, 1.0), "no_short": np.zeros(20, dtype=np.bool_), "broker_buying_power": 1e6}
# The same for an account on the wall clock, whose orders are no auctions.
LIVE_RED_TEAM = [
    ("an entry while the order stream is down", {}, {"gates": ("order stream down",)}, "entries_gate"),
    ("a quote of twenty seconds", {}, {"quote_age": np.full(20, 20.0)}, "quote_age"),
    ("no price in the session", {}, {"quote_age": np.full(20, nan)}, "quote_age"),
    ("no prices at all", {}, {"quote_age": None}, "quote_age"),
    ("a short that nobody lends", {"sign": -1.0}, {"no_short": np.ones(20, dtype=np.bool_)}, "short_availability"),
    ("a buy against an own sale", {}, {"working_sell": np.r_[10.0, np.zeros(19)]}, "self_cross"),
    ("a sale against an own buy", {"sign": -1.0}, {"working_buy": np.r_[10.0, np.zeros(19)]}, "self_cross"),
    ("the broker has no more to lend", {}, {"broker_buying_power": 9_999.0}, "broker_buying_power"),
    ("a thousandth order in a minute", {}, {"sent_minute": 1_000}, "orders_per_minute"),
    ("a ten thousandth order in a session", {}, {"sent_session": 10_000}, "orders_per_session"),
]


@pytest.mark.parametrize(("order", "account", "rule"), [case[1:] for case in LIVE_RED_TEAM], ids=[case[0] for case in LIVE_RED_TEAM])
def test_a_bad_order_of_a_live_account_is_denied_by_the_rule_made_for_it(order, account, rule):
    context = replace(risk_context(), **(LIVE | account))
    judged = judge(order_batch({"auction": False} | order), context, NEUTRAL, NONE, (*RULES, *LIVE_RULES))
    assert {result.rule for result in judged.results if result.verdict[0] == DENY} == {rule}
    held_too = replace(context, quantity=np.full(20, -100.0 * order.get("sign", 1.0)))
    reduction = order_batch({"auction": False, "reduction": True, "quantity": 50.0} | order)
    assert judge(reduction, replace(held_too, working_buy=np.zeros(20), working_sell=np.zeros(20)), NEUTRAL, NONE, LIVE_RULES).allowed.all()


def test_every_live_rule_binds_and_a_sane_order_meets_none_of_them():
    assert {case[3] for case in LIVE_RED_TEAM} == {rule.name for rule in LIVE_RULES}
    judged = judge(order_batch({"auction": False}), replace(risk_context(), **LIVE), NEUTRAL, NONE, (*RULES, *LIVE_RULES))
    assert judged.allowed.all()
    assert len({rule.name for rule in (*RULES, *LIVE_RULES)}) == len(RULES) + len(LIVE_RULES)


def test_a_mandate_without_numbers_for_a_session_cannot_trade_in_one():
    bare = msgspec.structs.replace(
        NEUTRAL, limits=msgspec.structs.replace(NEUTRAL.limits, max_quote_age_seconds=None, max_orders_per_minute_per_name=None)
    )
    judged = judge(order_batch({"auction": False}), replace(risk_context(), **LIVE), bare, NONE, LIVE_RULES)
    assert {result.rule for result in judged.results if result.verdict[0] == DENY} == {"quote_age", "orders_per_minute"}


def test_the_red_team_has_forty_orders_and_every_rule_binds():
    assert len(RED_TEAM) >= 40
    assert {case[3] for case in RED_TEAM} == set(NAMES)


def test_a_sane_order_in_a_healthy_account_is_allowed_by_all():
    judged = judge(order_batch({}), risk_context(), NEUTRAL, NONE)
    assert judged.allowed.all()
    assert [result.rule for result in judged.results] == NAMES
    assert all(result.verdict[0] == ALLOW for result in judged.results)


def test_names_are_unique_and_every_rule_names_its_control_and_unit():
    assert len(set(NAMES)) == len(NAMES)
    assert all(rule.control > 0 and rule.unit for rule in RULES)


@pytest.mark.parametrize("rule", [*RULES, *LIVE_RULES], ids=lambda rule: rule.name)
def test_results_have_a_row_an_order_or_one_value_for_all(rule: Rule):
    for count in (0, 1, 7):
        batch = order_batch(*[{"instrument": column} for column in range(7)]).take(np.arange(count))
        result = rule.check(batch, risk_context(), NEUTRAL)
        assert {np.shape(getattr(result, name)) for name in ("allowed", "evaluable", "measured", "limit")} <= {(count,), ()}
        assert result.reason


@pytest.mark.parametrize("rule", [*RULES, *LIVE_RULES], ids=lambda rule: rule.name)
def test_a_rule_changes_nothing_it_is_given_and_says_the_same_twice(rule: Rule):
    batch, context = order_batch({}, {"instrument": 3, "sign": -1.0}), risk_context()
    for frozen in (batch, context):
        for column in fields(frozen):
            value = getattr(frozen, column.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
    first, second = (rule.check(batch, context, NEUTRAL) for _ in range(2))
    np.testing.assert_array_equal(first.measured, second.measured)
    np.testing.assert_array_equal(first.allowed, second.allowed)


MISSING = {  # what a rule reads, made unknown
    "order_sanity": {"price": nan},
    "price_collar": "price",
    "stale_data": "bar_age",
    "order_quantity": "adv",
    "position_weight": "price",
    "gross_exposure": "price",
    "net_exposure": "price",
    "top_five": "price",
    "herfindahl": "price",
    "buying_power": "price",
    "order_value": "equity",
    "model_age": "model_age_days",
    "signal_coverage": "signal_coverage",
    "signal_dispersion": "signal_dispersion",
    "signal_same_sign": "signal_same_sign",
    "decision_turnover": "batch_turnover",
}
YES_OR_NO = {"duplicate_intent", "ladder", "frozen_instrument", "market_hours", "open_orders", "open_orders_total"}


@pytest.mark.parametrize("rule", NAMES)
def test_missing_data_deny_an_entry(rule):
    if rule in YES_OR_NO:  # these read counts and flags, which have no missing value: an unknown instrument is their missing datum
        order, context = {"instrument": -1}, risk_context()
        expected = "order_sanity"
    else:
        missing, expected = MISSING[rule], rule
        order = missing if isinstance(missing, dict) else {}
        context = risk_context()
        if isinstance(missing, str):
            value = getattr(context, missing)
            context = replace(context, **{missing: np.full_like(value, nan) if isinstance(value, np.ndarray) else nan})
    assert expected in denials(order_batch(order), context)[0]


@pytest.mark.parametrize("name", ["equity", "batch_turnover", "quantity", "price", "bar_age", "working_buy", "working_sell"])
def test_nan_anywhere_in_the_account_denies_entries(name):
    value = getattr(risk_context(), name)
    context = risk_context(**{name: np.full_like(value, nan) if isinstance(value, np.ndarray) else nan})
    assert not judge(order_batch({}), context, NEUTRAL, NONE).allowed.any()


def test_a_reduction_is_stopped_only_by_rules_made_for_reductions():
    worst = risk_context(
        quantity=np.full(20, 1000.0),
        admits_entries=False,
        session_open=False,
        frozen=np.ones(20, dtype=np.bool_),
        bar_age=np.full(20, 9.0),
        adv=np.full(20, nan),
        daily_sigma=np.full(20, nan),
        working_orders=np.full(20, 50),
        equity=-5.0,
        model_age_days=1e9,
        signal_coverage=0.0,
        signal_dispersion=nan,
        batch_turnover=99.0,
    )
    sell = {"sign": -1.0, "quantity": 1000.0}
    (entry, reduction) = denials(order_batch(sell, sell | {"instrument": 1, "reduction": True}), worst)
    assert reduction == set()
    assert entry & {rule.name for rule in RULES if not rule.applies_to_reductions}
    assert {rule.name for rule in RULES if rule.applies_to_reductions} == {"order_sanity", "duplicate_intent", "price_collar"}


def test_the_band_of_a_reduction_widens_while_there_is_no_fresh_price():
    cuts = (3.0, 3.5, 4.0, 5.0, 8.0, 8.1)
    sells = [
        {"instrument": row, "sign": -1.0, "reduction": True, "auction": False, "limit_price": 100.0 - cut} for row, cut in enumerate(cuts)
    ]
    allowed = []
    for age in (0.0, 1.0, 2.0, 3.0, 4.0, 9.0, nan):
        context = risk_context(quantity=np.full(20, 100.0), bar_age=np.full(20, age))
        allowed.append(int(judge(order_batch(*sells), context, NEUTRAL, NONE).allowed.sum()))
    assert allowed == [1, 2, 3, 4, 5, 5, 5]


def test_a_limit_rounded_to_the_price_grid_at_the_edge_of_the_band_is_allowed():
    price = 7.000003
    context = replace(with_first("price", price), daily_sigma=np.full(20, 0.0123457))
    for sign in (1.0, -1.0):
        width = max(0.10, 8 * 0.0123457)
        order = {"price": price, "sign": sign, "limit_price": round(price * (1 + sign * width), 6)}
        assert "price_collar" not in denials(order_batch(order), context)[0]


def test_a_decision_without_a_model_is_not_judged_by_its_scores():
    context = risk_context(model_age_days=nan, model_expires_days=nan, signal_coverage=nan, signal_dispersion=nan, signal_same_sign=nan)
    assert judge(order_batch({}), context, NEUTRAL, NONE).allowed.all()


def test_a_long_only_book_may_like_everything_but_sells_nothing_short():
    liked = risk_context(signal_same_sign=1.0)
    assert judge(order_batch({}), liked, LONG_ONLY, NONE).allowed.all()
    assert "position_weight" in denials(order_batch({"sign": -1.0}), liked, LONG_ONLY)[0]


def test_a_waived_rule_without_data_is_counted_and_one_with_data_still_judges():
    batch = order_batch({"quantity": 900.0}, {"instrument": 1, "quantity": 900.0})
    context = risk_context(adv=np.array([nan, 1000.0, *[1e6] * 18]))
    judged = judge(batch, context, NEUTRAL, frozenset({"order_quantity"}))
    assert judged.allowed.tolist() == [True, False]
    assert judged.not_evaluable == {"order_quantity": 1}
    verdicts = next(result.verdict for result in judged.results if result.rule == "order_quantity")
    assert verdicts.tolist() == [NOT_EVALUABLE, DENY]


def test_the_dollar_cap_stands_in_where_there_is_no_volume():
    tight = replace_limit("max_order_value_without_volume", 0.05)
    batch = order_batch({"quantity": 600.0}, {"instrument": 1, "quantity": 600.0})
    context = risk_context(adv=np.array([nan, *[1e6] * 19]))
    found = denials(batch, context, tight, frozenset({"order_quantity"}))
    assert found == [{"order_value"}, set()]


def replace_limit(name, value):
    return msgspec.structs.replace(NEUTRAL, limits=msgspec.structs.replace(NEUTRAL.limits, **{name: value}))


def raising(error):
    def check(batch, context, book):
        raise error

    return Rule(name="raises", control=1, unit="-", applies_to_reductions=False, check=check)


@pytest.mark.parametrize("error", [ZeroDivisionError("0"), ValueError("shape"), IndexError("row"), KeyError("name")])
def test_a_rule_that_raises_denies_entries_and_says_why(error):
    batch = order_batch({"reduction": True, "sign": -1.0, "instrument": 1}, {})
    context = risk_context(quantity=np.array([0.0, 100.0, *[0.0] * 18]))
    judged = judge(batch, context, NEUTRAL, NONE, (*RULES, raising(error)))
    assert judged.allowed.tolist() == [True, False]
    assert type(error).__name__ in judged.results[-1].reason
    assert judge(batch, context, NEUTRAL, frozenset({"raises"}), (*RULES, raising(error))).allowed.all()


def test_all_rules_are_shown_also_after_a_denial():
    found = denials(order_batch({"quantity": 100_000.0}), risk_context(session_open=False, admits_entries=False))[0]
    assert {"ladder", "market_hours", "order_value", "position_weight", "gross_exposure", "buying_power"} <= found


def test_an_order_that_brings_net_back_is_allowed_though_net_is_still_over():
    context = book_of(*[0.07] * 10)
    assert "net_exposure" in denials(order_batch({}), context)[0]
    assert "net_exposure" not in denials(order_batch({"sign": -1.0}), context)[0]


def test_a_closing_order_of_the_same_auction_makes_room_and_a_resting_one_does_not():
    context = replace(book_of(*[0.1, -0.1] * 7, 0.09), cash=0.0)  # gross 1.49 in fifteen names
    close = {"instrument": 1, "sign": -1.0, "quantity": 500.0, "reduction": True}
    entry = {"instrument": 0, "sign": 1.0, "quantity": 500.0}
    assert denials(order_batch(close, entry), context)[1] - {"herfindahl"} == set()
    assert "gross_exposure" in denials(order_batch(close | {"auction": False}, entry), context)[1]
