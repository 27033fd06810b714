"""500 names: their bars, the decision on a session of them, and an account with a model that trades them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import numpy as np
from msgspec.structs import replace

from hedgefund_core import bundle as b
from hedgefund_core.account import State, rows_kept
from hedgefund_core.backtest.event_driven import bars_closed, history_loaded
from hedgefund_core.live_account import with_equity
from hedgefund_core.machine import attach_bundle, fold
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.quant.features import code_digest, compute_features, resolve
from hedgefund_core.quant.models import single_feature_rule
from hedgefund_core.risk.limits import Mandate, digest_payload
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.ledger import apply_fill
from hedgefund_core.trading.order import Order
from live_executor.settings import read_settings

NAMES, ROUNDS = 500, 200
_CASH = 20_000_000
_FEATURE = "momentum_12_1"


def panel_of_names() -> Panel:
    """What a model needs of the past, and a session for each round; prices are in cents, as an exchange has them."""
    rng = np.random.default_rng(11)
    shape = (300 + ROUNDS, NAMES)
    close = np.round(60.0 * np.cumprod(1.0 + 0.012 * rng.standard_normal(shape), axis=0), 2)
    sessions = np.arange(np.datetime64("2026-12-30", "D") - shape[0] + 1, np.datetime64("2026-12-31", "D"))
    volume = np.round(5e6 * (0.5 + rng.random(shape)))
    return Panel(
        sessions=sessions, symbols=tuple(f"N{n:03d}" for n in range(NAMES)), price_kind=PriceKind.RAW, close=close, open=close,
        high=np.round(close * 1.01, 2), low=np.round(close * 0.99, 2), volume=volume, split_ratios=np.ones(shape), source="bench",
    )  # fmt: skip


def frame_of(panel: Panel, row: int) -> tuple[e.BarsClosed, e.DecisionDue]:
    """The bars of a session and the decision on them."""
    bars, after = bars_closed(panel, row), str(panel.sessions[row] + np.timedelta64(1, "D"))
    at = bars.ts + timedelta(minutes=15)
    return bars, e.DecisionDue(ts=at, session=bars.session, for_session=after, time_in_force="opg", rebalance=True)


def ready_account(panel: Panel, stop: int) -> State:
    """An account of 500 names with a model, that knows the bars before row ``stop`` and holds nothing."""
    mandate, bundle = _mandate(), _bundle(panel)
    names = tuple(Instrument(instrument_id=symbol, symbol=symbol) for symbol in panel.symbols)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    state = fold(
        State(),
        [
            e.AccountOpened(
                ts=at, account="frame", book="b", mode="replay", broker="simulated", instruments=names, initial_cash=Decimal(_CASH),
                source=panel.source, price_kind=panel.price_kind.value,
            ),
            e.ConfigurationLoaded(ts=at, digest="d", mandate=msgspec.Raw(digest_payload(mandate))),
        ],
    )  # fmt: skip
    loaded = e.ModelLoaded(
        ts=at, name="rule", version="1", digest=bundle.digest, alias="champion", model_kind="rule",
        trained_through=bundle.manifest.trained_through, expires_after_days=4000,
    )  # fmt: skip
    state = fold(attach_bundle(state, bundle), [loaded])
    return fold(state, [history_loaded(panel.rows(max(0, stop - rows_kept(state)), stop), at=at)])


def filled(state: State, orders: Sequence[Order]) -> State:
    """The account as it stands once its orders were filled at their reference prices, without the broker's news of each."""
    ledger = state.ledger
    for order in orders:
        ledger = apply_fill(
            ledger, instrument_id=order.instrument_id, side=order.side, quantity=order.quantity, price=order.reference_price,
            commission=Decimal(0),
        )  # fmt: skip
    return with_equity(replace(state, ledger=ledger))


def _mandate() -> Mandate:
    """The default book, in which every change is traded: 500 orders are wanted here."""
    book = read_settings().mandates["market_neutral"]
    return replace(book, rebalancing=replace(book.rebalancing, minimum_change=Decimal(0), relative_change=Decimal(0)))


def _bundle(panel: Panel) -> b.Bundle:
    specs = tuple(resolve([_FEATURE]))
    features = compute_features(panel, [_FEATURE])
    manifest = b.Manifest(
        schema=b.SCHEMA, name="rule", kind="rule", features=specs, columns=(_FEATURE,), code_digest=code_digest(specs),
        universe=panel.symbols, calendar="observed", price_kind=panel.price_kind.value, source=panel.source,
        trained_from=str(panel.sessions[0]), trained_through=str(panel.sessions[-ROUNDS - 1]), expires_after_days=4000,
        signal_contract=b.SignalContract(min_coverage=0.5, max_abs_score=1e6), mandate="market_neutral",
        data_versions={panel.source: panel.data_version}, mlflow_run_id="run", dagster_run_id="dagster",
        gate=b.GateRecord(kind="bootstrap", passed=True),
    )  # fmt: skip
    manifest, files = b.with_files(manifest, single_feature_rule(_FEATURE), features.values[-2])
    content = b.manifest_bytes(replace(manifest, key_id="k", signature="s"))
    return b.read_bundle({**files, b.MANIFEST: content}, lambda _key, _payload, _signature: True)
