"""A parent is never overrun: what is filled, what works and what is left are what was asked for, after every step."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hedgefund_core.errors import InvariantViolation
from hedgefund_core.session_orders import child_of
from hedgefund_core.trading.instrument import ONE, ZERO
from hedgefund_core.trading.order import Order, OrderStatus
from hedgefund_core.trading.router import PARTICIPATION, SLICED, WHOLE, Parent, next_quantity, parent_of, released, route, settled, skipped
from tests.unit.test_trading_order import NOW, an_order


@given(
    quantity=st.integers(1, 2_000_000), adv=st.one_of(st.none(), st.floats(0.0, 1e8)), lot=st.sampled_from([1, 100]),
    left=st.floats(0.0, 23_400.0),
)  # fmt: skip
def test_slices_add_up_and_each_is_a_small_part_of_the_volume(quantity: int, adv: float | None, lot: int, left: float) -> None:
    size, unit = Decimal(quantity * lot), Decimal(lot)
    way = route(size, unit, adv=adv, max_share=0.01, seconds_left=left)
    assert sum(way.slices, ZERO) == size
    assert all(piece > ZERO and piece % unit == ZERO for piece in way.slices)
    assert way.reason
    if way.strategy != WHOLE:
        assert adv is not None
        assert max(way.slices) <= max(Decimal(0.01 * adv), unit)
        assert way.seconds_between >= 1.0


def test_strategies_by_size() -> None:
    def of(quantity: int, adv: float | None) -> str:
        return route(Decimal(quantity), ONE, adv=adv, max_share=0.01, seconds_left=9000.0).strategy

    assert of(100, 10_000.0) == WHOLE
    assert of(101, 10_000.0) == SLICED
    assert of(5_000, 10_000.0) == SLICED
    assert of(5_001, 10_000.0) == PARTICIPATION
    assert of(10**6, None) == WHOLE


@dataclass
class Worked:
    """A parent and its children."""

    parent: Parent
    children: dict[str, Order] = field(default_factory=dict)

    def release(self) -> None:
        quantity = next_quantity(self.parent)
        if quantity == ZERO:
            self.parent = skipped(self.parent)
            return
        child = child_of(self.parent, quantity, NOW)
        assert child.client_order_id not in self.children
        assert quantity <= max(self.parent.route.slices)
        self.children[child.client_order_id] = child
        self.parent = released(self.parent, child)

    def change(self, name: str, filled: Decimal, status: OrderStatus) -> None:
        before = self.children[name]
        self.children[name] = replace(before, filled_quantity=before.filled_quantity + filled, status=status)
        self.parent = settled(self.parent, self.children.values())

    def check(self) -> None:
        orders = self.children.values()
        assert self.parent.filled == sum((o.filled_quantity for o in orders), ZERO)
        assert self.parent.working == sum((o.remaining for o in orders if o.is_working), ZERO)
        assert self.parent.remaining == max(self.parent.order.quantity - self.parent.filled - self.parent.working, ZERO)


@given(data=st.data(), quantity=st.integers(2, 5_000))
def test_a_parent_is_conserved_at_every_step(data: st.DataObject, quantity: int) -> None:
    whole = replace(an_order(), quantity=Decimal(quantity))
    way = route(whole.quantity, ONE, adv=quantity * 30.0, max_share=0.01, seconds_left=9000.0)
    worked = Worked(parent=parent_of(whole, way))
    for _ in range(data.draw(st.integers(1, 25))):
        alive = [name for name, child in worked.children.items() if child.is_working]
        if not alive or data.draw(st.booleans()):
            worked.release()
        else:
            name = data.draw(st.sampled_from(alive))
            left = worked.children[name].remaining
            filled = Decimal(data.draw(st.integers(0, int(left))))
            over = filled == left
            status = OrderStatus.FILLED if over else data.draw(st.sampled_from([OrderStatus.PARTIALLY_FILLED, OrderStatus.CANCELED]))
            worked.change(name, filled, status)
        worked.check()
    for _ in range(worked.parent.most_releases):
        worked.release()
        for name, child in list(worked.children.items()):
            if child.is_working:
                worked.change(name, child.remaining, OrderStatus.FILLED)
        worked.check()
    assert worked.parent.is_over


def test_a_parent_that_does_not_add_up_cannot_be() -> None:
    whole = replace(an_order(), quantity=Decimal(10))
    way = route(whole.quantity, ONE, adv=100.0, max_share=0.01, seconds_left=9000.0)
    with pytest.raises(InvariantViolation, match="are not 10"):
        replace(parent_of(whole, way), filled=Decimal(1))
