"""The decision kernel on cases small enough to work out by hand, and its digest: one changed input, another digest."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from hedgefund_core import bundle as b
from hedgefund_core.decision import Basis, Decision, DecisionInputs, decide, inputs_digest, judged_decision
from hedgefund_core.live_inputs import LiveInputs
from hedgefund_core.quant.features import resolve
from hedgefund_core.quant.models import single_feature_rule
from hedgefund_core.quant.portfolio.scaling import daily_sigmas
from hedgefund_core.quant.return_history import ReturnHistory
from hedgefund_core.risk.limits import auction_collar
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.order import Leg, Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from hedgefund_core.trading.state import Ladder, Level, Scope
from tests.builders import mandate

NAMES = ("A", "B", "C", "D", "E", "F", "G", "H")
NOW = datetime(2020, 3, 2, 21, 15, tzinfo=UTC)
N, T = len(NAMES), 130
BOOK = mandate()


def calm(seed: int = 3, size: float = 0.002) -> np.ndarray:
    return size * np.random.default_rng(seed).standard_normal((T, N))


def history(returns: np.ndarray) -> ReturnHistory:
    return ReturnHistory(returns=returns, market=returns.mean(axis=1))


def inputs(**changes: Any) -> DecisionInputs:
    plain: dict[str, Any] = {
        "account": "a", "book": "market_neutral", "session": "2020-03-02", "for_session": "2020-03-03", "decided_at": NOW,
        "time_in_force": TimeInForce.OPG, "purpose": Purpose.TARGETS,
        "instruments": tuple(Instrument(instrument_id=name, symbol=name) for name in NAMES),
        "features": np.arange(N, dtype=np.float64)[:, None], "mask": np.ones(N, dtype=np.bool_),
        "history": history(calm()), "prices": (Decimal(100),) * N, "bar_ages": np.zeros(N), "adv": np.full(N, 1e7),
        "equity": Decimal(1_000_000), "cash": Decimal(1_000_000), "positions": {}, "working": (), "sent": frozenset(),
        "frozen_instruments": frozenset(), "ladder": Ladder(), "drawdown": 0.0, "sessions_per_year": 252.0,
    }  # fmt: skip
    return DecisionInputs(**(plain | changes))


def targets(**weights: float) -> np.ndarray:
    return np.array([weights.get(name, np.nan) for name in NAMES])


@dataclass
class Scores:
    """A model whose scores are given: rules and trees have their own tests."""

    scores: np.ndarray
    kind: str = "rule"
    columns: tuple[str, ...] = ("reversal_5",)

    def score(self, features: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.where(mask, self.scores, np.nan)

    def score_sessions(self, features: np.ndarray, mask: np.ndarray, groups: np.ndarray) -> np.ndarray:
        return self.score(features, mask)

    def to_arrays(self) -> dict[str, np.ndarray]:
        return single_feature_rule("reversal_5").to_arrays()


def bundle(scores: np.ndarray, *, bound: float = 100.0, days: int = 400, gate: b.GateRecord | None = None) -> b.Bundle:
    made = b.Manifest(
        schema=b.SCHEMA, name="rule", kind="rule", features=tuple(resolve(["reversal_5"])), columns=("reversal_5",), code_digest="c",
        universe=NAMES, calendar="XNYS", price_kind="raw", source="s", trained_from="2019-01-01", trained_through="2020-01-01",
        expires_after_days=days, signal_contract=b.SignalContract(min_coverage=0.75, max_abs_score=bound), mandate="market_neutral",
        data_versions={}, mlflow_run_id="", dagster_run_id="", gate=gate or b.GateRecord(kind="bootstrap", passed=True),
    )  # fmt: skip
    return b.Bundle(manifest=made, digest="digest", model=Scores(scores))  # type: ignore[arg-type]


def legs(decision: Decision) -> list[tuple[str, str, str, int]]:
    return [(order.symbol, order.side.value, order.leg.value, int(order.quantity)) for order in decision.allowed]


def test_golden_targets_become_whole_shares_with_the_collar_as_limit() -> None:
    """5 % of a million at 101 is 495 shares (495.05 toward zero); at 24 it is 2083 (2083.3)."""
    prices = (Decimal(101), Decimal(24), *(Decimal(100),) * 6)
    made = decide(inputs(target_weights=targets(A=0.05, B=-0.05), prices=prices), None, BOOK)
    assert legs(made) == [("A", "buy", "open", 495), ("B", "sell", "open", 2083)]
    buy, sell = made.allowed
    assert (buy.limit_price, sell.limit_price) == (Decimal("104.03"), Decimal("21.6"))  # 3 % over 50 USD, 10 % up to 25 USD
    assert (buy.reference_price, buy.session, buy.decision_id) == (Decimal(101), "2020-03-03", made.decision_id)
    assert made.target_weights == {"A": Decimal("0.05"), "B": Decimal("-0.05")}
    assert made.denied == ()
    assert all(made.record.judgements.allowed)


def test_the_collar_is_the_wider_of_the_table_and_eight_daily_sigmas() -> None:
    assert auction_collar(100.0, 0.001, BOOK.limits) == 0.03
    assert auction_collar(100.0, 0.02, BOOK.limits) == 0.16
    assert auction_collar(100.0, float("nan"), BOOK.limits) == 0.03
    assert auction_collar(25.0, float("nan"), BOOK.limits) == 0.10
    wide = inputs(target_weights=targets(A=0.01), history=history(calm(size=0.02)))
    order = decide(wide, None, BOOK).allowed[0]
    sigma = float(wide.sigmas(BOOK)[0])
    assert float(order.limit_price or 0) == pytest.approx(100.0 * (1.0 + 8.0 * sigma), abs=1e-6)


def test_daily_sigmas_are_the_sample_deviation_and_need_twenty_returns() -> None:
    returns = np.full((25, 2), np.nan)
    returns[:, 0] = np.arange(25) / 1000.0
    returns[:19, 1] = 0.01
    first, second = daily_sigmas(returns)
    assert first == pytest.approx(np.std(returns[:, 0], ddof=1), rel=1e-12)
    assert np.isnan(second)


def test_crossing_zero_takes_a_closing_and_an_opening_leg_closings_first_then_by_id() -> None:
    held = {"A": Decimal(300), "H": Decimal(-200), "C": Decimal(400)}
    wanted = targets(A=-0.02, H=0.03, C=0.01, B=0.01)
    made = decide(inputs(target_weights=wanted, positions=held, cash=Decimal(950_000)), None, BOOK)
    assert legs(made) == [
        ("A", "sell", "close", 300),
        ("C", "sell", "close", 300),
        ("H", "buy", "close", 200),
        ("A", "sell", "open", 200),
        ("B", "buy", "open", 100),
        ("H", "buy", "open", 300),
    ]
    assert len({order.client_order_id for order in made.allowed}) == 6


def test_a_change_inside_the_band_is_not_traded_but_an_exit_always_is() -> None:
    held = {"A": Decimal(400), "B": Decimal(400), "C": Decimal(10)}
    wanted = targets(A=0.0424, B=0.0426, C=0.0)  # 24 bp, 26 bp, and an exit of 10 bp
    made = decide(inputs(target_weights=wanted, positions=held, cash=Decimal(919_000)), None, BOOK)
    assert [(symbol, leg) for symbol, _, leg, _ in legs(made)] == [("C", "close"), ("B", "open")]


def test_scores_are_on_a_grid_and_ties_go_by_instrument() -> None:
    noise = np.array([1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0]) + np.array([0, 3e-11, -3e-11, 0, 1e-11, -1e-11, 0, 0])
    made = decide(inputs(purpose=Purpose.MODEL), bundle(noise), BOOK)
    exact = decide(inputs(purpose=Purpose.MODEL), bundle(np.round(noise, 9)), BOOK)
    np.testing.assert_array_equal(made.scores, [1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0])
    assert made.record == exact.record


def test_weights_from_a_model_are_on_the_grid_of_a_millionth_and_neutral() -> None:
    stormy = calm(size=0.03)  # the volatility scaler binds, so that no name reaches its cap
    made = decide(inputs(purpose=Purpose.MODEL, history=history(stormy)), bundle(np.arange(8.0)), BOOK)
    weights = list(made.target_weights.values())
    assert all(weight == weight.quantize(Decimal("0.000001")) for weight in weights)
    assert abs(sum(weights)) <= Decimal("0.00001")
    assert sum(map(abs, weights)) <= Decimal("1.5")
    assert made.target_weights["A"] < 0 < made.target_weights["H"]
    assert {order.leg for order in made.allowed} == {Leg.OPEN}


@pytest.mark.parametrize("bad", [np.full(N, np.nan), np.full(N, 3.0), np.array([np.inf] * 4 + [1.0, 2.0, 3.0, 4.0])])
def test_scores_that_say_nothing_trade_nothing_not_even_exits(bad: np.ndarray) -> None:
    made = decide(inputs(purpose=Purpose.MODEL, positions={"A": Decimal(100)}), bundle(bad), BOOK)
    assert made.allowed == made.denied == ()
    assert made.target_weights == {}


def test_scores_beyond_what_the_model_promised_are_no_ground_for_a_trade() -> None:
    wild = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 600.0, 700.0, 800.0])
    made = decide(inputs(purpose=Purpose.MODEL, positions={"A": Decimal(100)}), bundle(wild), BOOK)
    assert made.allowed == made.denied == ()


@pytest.mark.parametrize("late", ["age", "override"])
def test_an_expired_model_or_override_takes_no_new_exposure_but_reduces(late: str) -> None:
    override = b.GateRecord(kind="override", passed=False, person="ann", reason="drill", expires="2020-03-01")
    old = bundle(np.arange(8.0), days=60) if late == "age" else bundle(np.arange(8.0), gate=override)
    made = decide(inputs(purpose=Purpose.MODEL, positions={"A": Decimal(100), "H": Decimal(100)}), old, BOOK)
    assert {order.leg for order in made.allowed} == {Leg.CLOSE}
    assert {order.denied_by for order in made.denied} == {"model_age"}


def test_an_instrument_without_any_price_is_left_out() -> None:
    prices = (None, *(Decimal(100),) * 7)
    returns = calm()
    returns[:, 0] = np.nan
    unlisted = {
        "prices": prices,
        "history": ReturnHistory(returns=returns, market=calm().mean(axis=1)),
        "bar_ages": np.array([130.0, *[0.0] * 7]),
        "mask": np.arange(N) > 0,
    }
    made = decide(inputs(purpose=Purpose.MODEL, **unlisted), bundle(np.arange(8.0)), BOOK)
    assert "A" not in {order.symbol for order in (*made.allowed, *made.denied)}
    assert len(made.allowed) > 0
    assert decide(inputs(target_weights=targets(A=0.05), **unlisted), None, BOOK).allowed == ()


def test_flatten_closes_what_is_held_and_meets_only_the_rules_for_reductions() -> None:
    stopped = Ladder(level=Level.FLATTENING, scope=Scope.ACCOUNT)
    held = {"C": Decimal(5000), "A": Decimal(-3000)}
    doubt = {"frozen_instruments": frozenset(NAMES), "bar_ages": np.full(N, 9.0)}
    made = decide(inputs(purpose=Purpose.FLATTEN, positions=held, ladder=stopped, **doubt), None, BOOK)
    assert legs(made) == [("A", "buy", "close", 3000), ("C", "sell", "close", 5000)]


def test_a_denied_order_names_its_rule_and_every_rule_spoke() -> None:
    made = decide(inputs(target_weights=targets(A=0.05), frozen_instruments=frozenset("A")), None, BOOK)
    assert made.allowed == ()
    assert [(order.status, order.denied_by) for order in made.denied] == [(OrderStatus.DENIED, "frozen_instrument")]
    spoke = [verdict.rule for verdict in made.record.judgements.at(0).verdicts]
    assert len(spoke) == len(set(spoke)) > 15


def test_nothing_that_is_recorded_is_a_nan() -> None:
    returns = np.full((5, N), np.nan)  # too short for any measure
    made = decide(inputs(target_weights=targets(A=0.05, B=0.0), history=history(returns)), None, BOOK)
    assert e.decode(e.encode(made.record)) == made.record


ORDER = Order(
    client_order_id="x-r0", decision_id="d", instrument_id="A", symbol="A", side=Side.BUY, quantity=Decimal(1), order_type=OrderType.LIMIT,
    time_in_force=TimeInForce.OPG, leg=Leg.OPEN, purpose=Purpose.MODEL, session="2020-03-03", reference_price=Decimal(100),
    submitted_at=NOW,
)  # fmt: skip
LIVE = LiveInputs(
    opened="2020-03-01", number=7, in_session=True, bid=(None,) * N, ask=(None,) * N, quote_age=np.zeros(N),
    quote_patience=np.full(N, np.nan), seconds_left=float("nan"), quantities={}, gates=(), no_short=frozenset(), closed=frozenset(),
    waiting=frozenset(), barred=frozenset(), left_alone=frozenset(), buying_power=None, sent_minute=0, sent_session=0,
)  # fmt: skip
CHANGED: dict[str, Any] = {
    "account": "b", "book": "long_only", "session": "2020-03-01", "for_session": "2020-03-04",
    "decided_at": NOW + timedelta(microseconds=1),
    "time_in_force": TimeInForce.CLS, "purpose": Purpose.FLATTEN, "instruments": (Instrument(instrument_id="A", symbol="AA"),),
    "features": np.arange(N, dtype=np.float64)[None, :], "mask": np.arange(N) > 0, "history": history(calm() + np.eye(T, N) * 1e-16),
    "prices": (Decimal("100.000001"), *(Decimal(100),) * 7), "bar_ages": np.ones(N), "adv": np.full(N, np.nan),
    "equity": Decimal("1000000.000001"), "cash": Decimal(1), "positions": {"A": Decimal(1)}, "working": (ORDER,), "sent": frozenset("x"),
    "frozen_instruments": frozenset("A"), "ladder": Ladder(level=Level.REDUCING), "drawdown": 1e-12, "sessions_per_year": 365.0,
    "waived": frozenset({"order_quantity"}), "target_weights": np.zeros(N), "live": LIVE,
}  # fmt: skip
LIVE_CHANGED: dict[str, Any] = {
    "opened": "2020-03-02", "number": 8, "in_session": False, "bid": (1.0,) * N, "ask": (1.0,) * N, "bands": ((1.0,) * N, (2.0,) * N),
    "quote_age": np.ones(N), "quote_patience": np.ones(N), "seconds_left": 1.0, "quantities": {"A": Decimal(1)},
    "gates": ("stream",), "no_short": frozenset("B"), "closed": frozenset("B"), "waiting": frozenset("B"), "barred": frozenset("B"),
    "left_alone": frozenset("B"), "whole_only": frozenset("B"),
    "buying_power": Decimal(1), "sent_minute": 1, "sent_session": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in fields(DecisionInputs) if field.init])
def test_the_digest_changes_with_every_input(name: str) -> None:
    assert inputs_digest(inputs()) == inputs_digest(inputs())
    assert inputs_digest(replace(inputs(), **{name: CHANGED[name]})) != inputs_digest(inputs())


@pytest.mark.parametrize("name", ["returns", "market"])
def test_the_digest_changes_with_every_part_of_the_history(name: str) -> None:
    known = inputs().history
    other = replace(known, **{name: getattr(known, name) + 1e-16})
    assert inputs_digest(inputs(history=other)) != inputs_digest(inputs())


@pytest.mark.parametrize("name", [field.name for field in fields(LiveInputs)])
def test_the_digest_changes_with_everything_that_only_a_live_account_knows(name: str) -> None:
    known = replace(inputs(), live=LIVE)
    assert inputs_digest(replace(known, live=replace(LIVE, **{name: LIVE_CHANGED[name]}))) != inputs_digest(known)


def test_the_digest_of_a_decision_covers_its_result() -> None:
    made = decide(inputs(target_weights=targets(A=0.05)), None, BOOK)
    strict = msgspec.structs.replace(BOOK, limits=msgspec.structs.replace(BOOK.limits, max_order_value=0.01))
    other = decide(inputs(target_weights=targets(A=0.05)), None, strict)
    assert made.record.inputs_digest == other.record.inputs_digest
    assert made.digest != other.digest


def test_a_decision_on_the_wall_clock_is_denied_what_the_broker_does_not_take() -> None:
    def verdicts(limit: str, moment: datetime) -> tuple[bool, list[str]]:
        order = msgspec.structs.replace(ORDER, limit_price=Decimal(limit), submitted_at=moment, time_in_force=TimeInForce.OPG)
        basis = Basis(bundle=None, scores=np.full(N, np.nan), weights=np.full(N, np.nan), scalings=())
        (judged,) = judged_decision(replace(inputs(), live=LIVE), [order], BOOK, basis).record.judgements
        return judged.allowed, [verdict.reason for verdict in judged.verdicts if verdict.rule == "capabilities"]

    noon = datetime(2026, 11, 16, 17, tzinfo=UTC)
    assert verdicts("100.001", noon) == (False, ["the limit price is no multiple of the tick 0.01"])
    assert verdicts("100.01", noon)[1] == [], "what is early for an auction waits for its window"


def test_an_edited_copy_measures_its_own_returns() -> None:
    known = inputs()
    sigmas, instrument_betas = known.sigmas(BOOK), known.betas(BOOK)
    doubled = replace(known, history=ReturnHistory(returns=2.0 * known.history.returns, market=known.history.market))
    np.testing.assert_allclose(doubled.sigmas(BOOK), 2.0 * sigmas)
    assert not np.array_equal(doubled.betas(BOOK), instrument_betas)
