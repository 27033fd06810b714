"""Orders in columns: nothing is lost, and the same orders are always the same bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from hedgefund_core.trading.events import OrdersIntended, decode, encode
from hedgefund_core.trading.order import Leg, Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from hedgefund_core.trading.order_table import Columns, Orders, OrderTable

AT = datetime(2026, 11, 16, 14, 30, tzinfo=UTC)
REQUIRED = [field.name for field in msgspec.structs.fields(Order) if field.required]
words, numbers = st.sampled_from(["a", "b"]), st.sampled_from([Decimal(1), Decimal("1.000000"), Decimal("0.5")])
moments = st.sampled_from([AT, AT.replace(microsecond=1)])
orders = st.builds(
    Order,
    client_order_id=words, decision_id=words, instrument_id=words, symbol=words, side=st.sampled_from(Side), quantity=numbers,
    order_type=st.sampled_from(OrderType), time_in_force=st.sampled_from(TimeInForce), leg=st.sampled_from(Leg),
    purpose=st.sampled_from(Purpose), session=words, reference_price=numbers, submitted_at=moments, limit_price=st.none() | numbers,
    status=st.sampled_from(OrderStatus), filled_quantity=numbers, filled_value=numbers, fill_ids=st.sampled_from([(), ("x",), ("x", "y")]),
    broker_order_id=words, updated_at=st.none() | moments, denied_by=words, reason=words,
)  # fmt: skip


@given(st.lists(orders, max_size=4))
def test_orders_come_out_of_their_columns_as_they_went_in(some: list[Order]) -> None:
    frame = OrdersIntended(ts=AT, orders=OrderTable.of(some))
    read = decode(encode(frame))
    assert isinstance(read, OrdersIntended)
    assert (list(read.orders), len(read.orders)) == (some, len(some))
    assert list(map(repr, read.orders)) == list(map(repr, some)), "a Decimal keeps its places"
    assert encode(read) == encode(frame)


@given(st.lists(orders, max_size=4), st.integers(1, len(Order.__struct_fields__)))
def test_orders_made_of_columns_are_those_made_one_by_one_and_have_their_table(some: list[Order], given: int) -> None:
    """``given``: how many fields are known; the others are as a new order has them."""
    fields = Order.__struct_fields__[: max(given, len(REQUIRED))]
    first = astuple(some[0]) if some else ()
    shared = {name: cell for name, cell in zip(fields, first, strict=False) if name in {"session", "purpose"}}
    columns = {name: [getattr(order, name) for order in some] for name in fields if name not in shared}
    made = Orders.made(columns, **shared)
    wanted = [Order(**{name: shared.get(name, getattr(order, name)) for name in fields}) for order in some]
    assert list(made) == wanted
    assert encode(OrdersIntended(ts=AT, orders=made.table)) == encode(OrdersIntended(ts=AT, orders=OrderTable.of(wanted)))
    assert OrderTable.of(made) == made.table


def test_a_field_left_out_between_others_is_refused() -> None:
    with pytest.raises(KeyError, match="decision_id"):
        Orders.made({"client_order_id": ["a"]}, instrument_id="A")


def test_every_field_of_an_order_has_its_column() -> None:
    assert Columns.__struct_fields__ == Order.__struct_fields__
    of_order, of_columns = ({field.name: field.type for field in msgspec.structs.fields(kind)} for kind in (Order, Columns))
    assert {name: tuple[kind, ...] for name, kind in of_order.items()} == of_columns


def test_a_table_whose_columns_are_too_short_is_no_frame() -> None:
    whole = b'{"kind":"orders_intended","ts":"2026-11-16T14:30:00Z","orders":{"count":0,"first":null,"columns":{}}}'
    assert decode(whole) == OrdersIntended(ts=AT, orders=OrderTable.of(()))
    for broken in (b'"count":1,"first":null,"columns":{}', b'"count":0,"first":null,"columns":{"symbol":["A"]}'):
        with pytest.raises(msgspec.ValidationError, match=r"a table of [01] orders"):
            decode(whole.replace(b'"count":0,"first":null,"columns":{}', broken))
