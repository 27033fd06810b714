"""What was done past the journal comes into the books once: closing orders before halts, so that nothing is closed twice."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Leg, Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from hedgefund_core.trading.state import Level
from live_executor.journals.emergency import Act, EmergencyAct
from live_executor.live.past_journal import adoption
from tests.scenario.live_bench import LiveBench, session

T0 = datetime(2026, 11, 16, 15, 30, tzinfo=UTC)


def closing(symbol: str, quantity: int, side: Side) -> Order:
    return Order(
        client_order_id=f"em-{symbol}-r0",
        decision_id="emergency-1",
        instrument_id=f"asset-of-{symbol}",
        symbol=symbol,
        side=side,
        quantity=Decimal(quantity),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        leg=Leg.CLOSE,
        purpose=Purpose.FLATTEN,
        session="2026-01-01",
        reference_price=Decimal(100),
        submitted_at=T0,
    )


def acts(*orders: Order) -> list[EmergencyAct]:
    made = [EmergencyAct(number=1, ts=T0, act=Act.HALT, person="ann", reason="it hangs", level=3)]
    made.append(EmergencyAct(number=2, ts=T0, act=Act.CANCEL_ALL, person="ann", reason="it hangs"))
    for order in orders:
        made.append(
            EmergencyAct(
                number=len(made) + 1, ts=T0, act=Act.REDUCE, person="ann", reason="it hangs", order=order,
                client_order_id=order.client_order_id,
            )
        )  # fmt: skip
    return made


def test_closing_orders_are_known_before_the_halt_that_asked_for_them() -> None:
    bench = LiveBench()
    bench.hold(AAA=10, BBB=-5)
    done = acts(closing("AAA", 10, Side.SELL), closing("BBB", 5, Side.BUY))
    looked_up, sent = [], []
    for event in adoption(bench.state, done, bench.tick(), session()):
        bench.feed(event)
        looked_up += bench.looked_up()
        sent += bench.sent()
    assert sent == [], "what is being closed is not closed a second time"
    assert sorted(looked_up) == ["em-AAA-r0", "em-BBB-r0"]
    assert bench.state.ladder.level is Level.FLATTENING
    adopted = bench.state.orders["em-AAA-r0"]
    assert (adopted.instrument_id, adopted.session, adopted.status) == ("AAA", session(), OrderStatus.UNKNOWN)
    assert set(bench.state.frozen) == {"AAA", "BBB"}
    for name in ("em-AAA-r0", "em-BBB-r0"):
        bench.accept(bench.state.orders[name])
        bench.fill(bench.state.orders[name])
    assert (bench.held("AAA"), bench.held("BBB"), bench.sent()) == (0, 0, [])
    assert not bench.state.frozen
    assert bench.replayed() == bench.outputs


def test_an_act_that_is_adopted_again_changes_nothing() -> None:
    bench = LiveBench()
    bench.hold(AAA=10)
    for event in adoption(bench.state, acts(closing("AAA", 10, Side.SELL)), bench.tick(), session()):
        bench.feed(event)
    before = bench.state
    for event in adoption(bench.state, acts(closing("AAA", 10, Side.SELL)), bench.tick(), session()):
        bench.feed(event)
        assert bench.looked_up() == []
    assert bench.state == before


def test_a_stranger_that_was_closed_becomes_an_instrument_first() -> None:
    bench = LiveBench()
    events = adoption(bench.state, acts(closing("ZZZ", 3, Side.SELL)), bench.tick(), session())
    assert isinstance(events[0], e.InstrumentsAdded)
    for event in events:
        bench.feed(event)
    assert bench.state.orders["em-ZZZ-r0"].instrument_id == "asset-of-ZZZ"
    assert "asset-of-ZZZ" in {instrument.instrument_id for instrument in bench.state.instruments}


def test_a_closing_order_that_never_arrived_goes_out_once_more_while_everything_is_to_be_closed() -> None:
    bench = LiveBench()
    bench.hold(AAA=10)
    for event in adoption(bench.state, acts(closing("AAA", 10, Side.SELL)), bench.tick(), session()):
        bench.feed(event)
    bench.feed(e.OrderAbsent(ts=bench.tick(), client_order_id="em-AAA-r0"))
    assert [order.client_order_id for order in bench.sent()] == ["em-AAA-r0"], "under the same id"


def test_a_closing_order_that_never_arrived_is_over_once_people_have_resumed() -> None:
    bench = LiveBench()
    bench.hold(AAA=10)
    for event in adoption(bench.state, acts(closing("AAA", 10, Side.SELL)), bench.tick(), session()):
        bench.feed(event)
    bench.feed(e.ResumeRequested(ts=bench.tick(), reason="a drill", person="ann", session=session()))
    bench.feed(e.OrderAbsent(ts=bench.tick(), client_order_id="em-AAA-r0"))
    assert (bench.sent(), bench.state.orders["em-AAA-r0"].status, bench.held("AAA")) == ([], OrderStatus.CANCELED, 10)
