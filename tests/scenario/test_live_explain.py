"""`explain` of a live account: from a fill to the line of the file of targets, to the person, or to the emergency that asked for it."""

from __future__ import annotations

import json

from hedgefund_core.trading.order import Order
from tests.live_house import House


def test_every_order_of_a_live_account_says_who_asked_for_it(house: House) -> None:
    house.want('{\n  "quantities": {\n    "MSFT": 4,\n    "AAPL": 10\n  }\n}\n')
    with house.trading():
        house.until_held(AAPL=10, MSFT=4)
        house.until(lambda: house.json("status")["orders_open"] == 0 and house.json("status")["gates"] == [])
        house.json("order", "KO", "BUY", "5", "--reason", "a whim")
    before = {row["client_order_id"] for row in house.json("orders")}
    assert house.json("flatten", "--reason", "enough", "--person", "ann")["verified"]
    with house.trading():
        house.until(lambda: house.frames("reconciled")[-1].ok and house.json("positions") == [])
    by_symbol = {row["symbol"]: row["client_order_id"] for row in house.json("orders") if row["client_order_id"] in before}
    fills = {row["symbol"]: row["client_order_id"] for row in house.json("fills") if row["client_order_id"] in before}
    assert fills == by_symbol
    asked = house.json("explain", fills["AAPL"])
    assert (asked["origin"]["by"], asked["origin"]["file"], asked["origin"]["line"]) == ("targets", str(house.targets), 4)
    assert asked["origin"]["text"] == '"AAPL": 10'
    assert {verdict["verdict"] for verdict in asked["verdicts"]} == {"allow"}
    assert sum(float(fill["quantity"]) for fill in asked["fills"]) == 10
    manual = house.json("explain", fills["KO"])["origin"]
    assert (manual["by"], manual["reason"]) == ("person", "a whim")
    closing = [row["client_order_id"] for row in house.json("orders") if row["client_order_id"] not in before]
    adopted: list[Order] = [frame.order for frame in house.frames("emergency_adopted") if frame.order is not None]
    assert sorted(order.client_order_id for order in adopted) == sorted(closing)
    assert {order.decision_id.split("-")[0] for order in adopted} == {"emergency"}
    emergency = house.json("explain", closing[0])["origin"]
    assert (emergency["by"], emergency["person"], emergency["reason"]) == ("emergency", "ann", "enough")
    house.want(json.dumps({"quantities": {"AAPL": 11}}))
    assert "has changed since" in house.json("explain", fills["AAPL"])["origin"]["note"]
    shown = house.cli("explain", fills["AAPL"])
    assert shown.exit_code == 0
    assert "targets" in shown.output
    decided = asked["decision"]["decision_id"]
    again = house.json("decision", decided)
    assert (again["identical"], {row["symbol"]: row["now"] for row in again["orders"]}["AAPL"]) == (True, "10")
    by_hand = house.json("explain", fills["KO"])["decision"]["decision_id"]
    assert house.cli("decision", by_hand).exit_code == 2, "it says how it is proved instead"
    house.agree()
