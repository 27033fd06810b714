"""A batch is judged as if its orders came one by one; the reference here calls the rules without the engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.risk import RULES
from hedgefund_core.risk.engine import DENY, judge
from hedgefund_core.risk.exposure import Exposures, largest_sums
from tests.builders import mandate, order_batch, risk_context

BOOKS = {name: mandate(name) for name in ("market_neutral", "long_only")}
M = 8

orders = st.fixed_dictionaries(
    {
        "instrument": st.integers(-1, M - 1),
        "sign": st.sampled_from([1.0, -1.0]),
        "quantity": st.sampled_from([1.0, 100.0, 333.0, 700.0, 1000.0, 1200.0, np.nan, -5.0]),
        "limit_price": st.sampled_from([np.nan, 99.0, 101.0, 140.0]),
        "reduction": st.booleans(),
        "auction": st.sampled_from([True, True, False]),
        "duplicate": st.sampled_from([False] * 9 + [True]),
    }
)
accounts = st.fixed_dictionaries(
    {
        "quantity": st.lists(st.sampled_from([-950.0, -400.0, 0.0, 0.0, 500.0, 980.0]), min_size=M, max_size=M),
        "working_buy": st.lists(st.sampled_from([0.0, 0.0, 0.0, 200.0]), min_size=M, max_size=M),
        "working_sell": st.lists(st.sampled_from([0.0, 0.0, 0.0, 300.0]), min_size=M, max_size=M),
        "bar_age": st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0]), min_size=M, max_size=M),
    }
)


def allowed_one_by_one(batch, context, book):
    """The allowed rows, each judged after the allowed ones before it."""
    kept: list[int] = []
    with np.errstate(all="ignore"):
        for row in range(len(batch)):
            sub = batch.take(np.array([*kept, row], dtype=np.int64))
            results = [(rule, rule.check(sub, context, book)) for rule in RULES]
            reduction = bool(batch.reduction[row])
            met = [result for rule, result in results if rule.applies_to_reductions or not reduction]
            if all(np.broadcast_to(result.allowed & result.evaluable, len(sub))[-1] for result in met):
                kept.append(row)
    return kept


@given(wanted=st.lists(orders, max_size=14), account=accounts, name=st.sampled_from(sorted(BOOKS)))
def test_a_batch_is_judged_as_one_order_after_the_other(wanted, account, name):
    batch = order_batch(*wanted) if wanted else order_batch({}).take(np.arange(0))
    context = risk_context(M, **{key: np.array(values) for key, values in account.items()})
    tight = replace(context, equity=4e5)  # so that caps bind
    for risk in (context, tight):
        judged = judge(batch, risk, BOOKS[name], frozenset())
        assert np.flatnonzero(judged.allowed).tolist() == allowed_one_by_one(batch, risk, BOOKS[name])
        denied = np.array([result.verdict == DENY for result in judged.results]).any(axis=0)
        assert (denied == ~judged.allowed).all()  # each denial has a rule, and nothing is allowed against one


moves = st.tuples(st.integers(0, 6), st.sampled_from([0.0, 1.0, 2.0, 3.0, 7.0]), st.booleans())


@given(book=st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0, 6.0]), min_size=7, max_size=7), steps=st.lists(moves, max_size=12))
def test_the_largest_names_are_those_of_the_whole_book_after_each_order(book, steps):
    rows = order_batch({}, *[{"instrument": name} for name, _, _ in steps]).take(np.arange(1, len(steps) + 1))
    batch = replace(rows, reserves=np.array([kept for _, _, kept in steps], dtype=np.bool_))
    now, was, sums = list(book), [], {True: [], False: []}
    for name, aim, kept in steps:
        moved = [*now[:name], aim, *now[name + 1 :]]
        was.append(now[name])
        sums[False].append(sum(sorted(now)[-5:]))
        sums[True].append(sum(sorted(moved)[-5:]))
        now = moved if kept else now
    found = Exposures(base=np.array(book), before=np.array(was), after=np.array([aim for _, aim, _ in steps]))
    for including in (True, False):
        assert largest_sums(batch, found, 5, including=including).tolist() == sums[including]


@given(wanted=st.lists(orders, min_size=1, max_size=10), account=accounts)
def test_no_allowed_reduction_can_raise_a_position(wanted, account):
    batch = order_batch(*[order | {"reduction": True} for order in wanted])
    context = risk_context(M, **{key: np.array(values) for key, values in account.items()})
    allowed = judge(batch, context, BOOKS["market_neutral"], frozenset()).allowed
    quantity, buys, sells = context.quantity, context.working_buy.copy(), context.working_sell.copy()
    for row in np.flatnonzero(allowed):
        side = buys if batch.sign[row] > 0 else sells
        side[batch.instrument[row]] += batch.quantity[row]
    touched = np.unique(batch.instrument[allowed])
    for name in touched:
        if quantity[name] > 0:
            assert quantity[name] - sells[name] >= 0
        else:
            assert quantity[name] + buys[name] <= 0


@given(wanted=st.lists(orders, min_size=1, max_size=14), account=accounts)
def test_what_is_allowed_keeps_gross_and_position_under_their_caps(wanted, account):
    batch = order_batch(*[order | {"reduction": False} for order in wanted])
    context = risk_context(M, **{key: np.array(values) for key, values in account.items()})
    limits = BOOKS["market_neutral"].limits
    allowed = judge(batch, context, BOOKS["market_neutral"], frozenset()).allowed
    shares = (batch.sign * batch.quantity)[allowed]
    after = context.quantity.copy()
    np.add.at(after, batch.instrument[allowed], shares)
    weights, before = np.abs(after) * 100.0 / 1e6, np.abs(context.quantity) * 100.0 / 1e6
    assert weights.sum() <= max(limits.max_gross, before.sum()) + 1e-9
    assert (weights <= np.maximum(limits.max_position_weight, before) + 1e-9).all()
