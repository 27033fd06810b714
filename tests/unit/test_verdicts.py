"""The engine's arrays as the columns of the journal, and back to what was said of one order."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import numpy as np
import pytest

from hedgefund_core.risk.engine import Judged, RuleVerdicts
from hedgefund_core.trading.events import Judgements, RuleVerdict
from hedgefund_core.trading.order import Leg, Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from hedgefund_core.verdicts import judgements_of, parted, taken_by_broker

NAN = float("nan")


def order(name: str, limit: str = "10.01") -> Order:
    return Order(
        client_order_id=name, decision_id="d", instrument_id=name, symbol=name, side=Side.BUY, quantity=Decimal(1),
        order_type=OrderType.LIMIT, time_in_force=TimeInForce.DAY, leg=Leg.OPEN, purpose=Purpose.TARGETS, session="2026-11-16",
        reference_price=Decimal(10), submitted_at=datetime(2026, 11, 16, 17, tzinfo=UTC), limit_price=Decimal(limit),
    )  # fmt: skip


def said(rule: str, measured: list[float], limit: list[float], codes: list[int] | None = None) -> RuleVerdicts:
    words = None if codes is None else np.array(codes)
    return RuleVerdicts(
        rule=rule, unit="u", orders=len(measured), measured=np.array(measured), limit=np.array(limit), codes=words, reason="too much"
    )


ORDERS = (order("a"), order("b"), order("c"))


@pytest.fixture
def judgements() -> Judgements:
    results = (
        said("same", [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]),
        said("absent", [NAN, NAN, NAN], [5.0, 5.0, 5.0]),
        said("mixed", [1.0, NAN, 3.0], [2.0, 2.0, 2.5], [0, 2, 1]),
        said("infinite", [np.inf, 1.0, -np.inf], [1.0, 1.0, 1.0], [1, 1, 1]),
        RuleVerdicts(rule="whole", unit="u", orders=3, measured=0.5, limit=NAN, codes=np.array([1, 1, 1]), reason="closed"),
    )
    return judgements_of(ORDERS, Judged(allowed=np.array([True, True, False]), results=results))


def test_a_column_is_one_value_where_it_holds_for_every_order(judgements: Judgements) -> None:
    same, absent, mixed, infinite, whole = judgements.rules
    assert (same.verdict, same.measured, same.limit, same.reason) == ("allow", 1.0, 2.0, "")
    assert (absent.measured, absent.limit) == (None, 5.0)
    assert mixed.verdict == ("allow", "not_evaluable", "deny")
    assert [(said.measured, said.limit) for said in map(mixed.of, range(3))] == [(1.0, 2.0), (None, 2.0), (3.0, 2.5)]
    assert mixed.limit == struct.pack("<3d", 2.0, 2.0, 2.5), "as anybody can read it: ADR 19"
    assert (infinite.verdict, infinite.reason) == ("deny", "too much")
    assert [infinite.of(place).measured for place in range(3)] == [None, 1.0, None]
    assert (whole.verdict, whole.measured, whole.limit, whole.reason) == ("deny", 0.5, None, "closed")


def test_one_orders_verdicts_are_read_from_the_columns_also_after_the_journal(judgements: Judgements) -> None:
    read = msgspec.json.decode(msgspec.json.encode(judgements), type=Judgements)
    assert read == judgements
    assert [one.client_order_id for one in read] == ["a", "b", "c"]
    second = read.of("b")
    assert second is not None
    assert second.verdicts[2] == RuleVerdict(rule="mixed", verdict="not_evaluable", measured=None, limit=2.0)
    assert read.at(2).verdicts[2] == RuleVerdict(rule="mixed", verdict="deny", measured=3.0, limit=2.5, reason="too much")
    assert read.of("stranger") is None


def test_a_denied_order_is_named_by_its_first_denial(judgements: Judgements) -> None:
    allowed, denied = parted(ORDERS, judgements)
    assert [one.client_order_id for one in allowed] == ["a", "b"]
    assert [(one.status, one.denied_by, one.reason) for one in denied] == [(OrderStatus.DENIED, "mixed", "too much")]


def test_what_the_broker_does_not_take_is_a_column_of_its_own_reasons(judgements: Judgements) -> None:
    assert taken_by_broker(ORDERS, judgements) is judgements
    asked = (order("a", "10.001"), order("b"), order("c"))
    found = taken_by_broker(asked, judgements)
    assert found.allowed == (False, True, False)
    assert (found.rules[-1].rule, found.rules[-1].verdict) == ("capabilities", ("deny", "allow", "allow"))
    assert found.at(0).verdicts[-1].reason == "the limit price is no multiple of the tick 0.01"
    assert found.at(1).verdicts[-1].reason == ""


def test_no_orders_have_no_columns() -> None:
    assert judgements_of((), Judged(allowed=np.zeros(0, dtype=np.bool_), results=(said("same", [], []),))) == Judgements()
