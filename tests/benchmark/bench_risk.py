"""Risk: what the check of an order costs with its record, and how long the risk of a whole book takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hedgefund_core.account import decision_inputs, history_of
from hedgefund_core.decision import Basis, decide, judged_decision
from hedgefund_core.machine import step
from hedgefund_core.quant.portfolio.scaling import betas, book_beta, book_volatility, historical_var
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Purpose
from live_executor.journals.chain import GENESIS, chain_hash
from tests.benchmark.names import NAMES, ROUNDS, frame_of, panel_of_names, ready_account
from tests.benchmark.row import Row

CHECK_GOAL_US, REFRESH_GOAL_MS = 50.0, 5.0


def measure(folder: Path) -> Iterator[Row]:
    """All rows of the area."""
    yield _pre_trade()
    yield _refresh()


def _pre_trade() -> Row:
    """Every order of a decision through every rule, and the frame of it as the journal chains it."""
    panel = panel_of_names()
    ready = ready_account(panel, panel.shape[0] - ROUNDS)
    taken = []
    orders = 0
    for row in range(panel.shape[0] - ROUNDS, panel.shape[0]):
        bars, due = frame_of(panel, row)
        ready, _ = step(ready, e.SessionBegan(ts=bars.ts, session=bars.session))
        ready, _ = step(ready, bars)
        state = ready
        if state.mandate is None:
            raise RuntimeError("the account has no mandate")
        inputs = decision_inputs(state, due, Purpose.MODEL)
        made = decide(inputs, state.bundle, state.mandate)
        basis = Basis(
            bundle=state.bundle, scores=made.scores, weights=np.frombuffer(made.record.target_weights, dtype="<f8"), scalings=made.scalings
        )
        started = time.perf_counter()
        judged = judged_decision(inputs, made.allowed, state.mandate, basis)
        chain_hash(GENESIS, 1, 0, "decision_made", e.encode(judged.record))
        taken.append((time.perf_counter() - started) / len(made.allowed) * 1e6)
        orders = len(made.allowed)
    p99 = float(np.percentile(taken, 99))
    return Row(
        name=f"pre-trade check with its record, of {orders} orders, p99",
        ours=p99,
        unit="us an order",
        goal=f"at most {CHECK_GOAL_US:g} us an order",
        met=p99 <= CHECK_GOAL_US,
        note=f"p50 {statistics.median(taken):.1f}; every rule on every order, digest, record encoded and hashed; no disk",
    )


def _refresh() -> Row:
    """What each mark of the account measures of the book it holds."""
    panel = panel_of_names()
    state = ready_account(panel, panel.shape[0])
    weights = np.where(np.arange(NAMES) % 2 == 0, 1.0, -1.0) * 1.5 / NAMES
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        history = history_of(state)
        historical_var(weights, history.returns)
        book_volatility(weights, history.returns[-63:], 0.94, 252.0)
        book_beta(weights, betas(history.returns, history.market))
        taken.append((time.perf_counter() - started) * 1000)
    p99 = float(np.percentile(taken, 99))
    return Row(
        name=f"risk of a book of {NAMES} names: VaR, expected shortfall, volatility, beta, p99",
        ours=p99,
        unit="ms",
        goal=f"at most {REFRESH_GOAL_MS:g} ms",
        met=p99 <= REFRESH_GOAL_MS,
        note=f"p50 {statistics.median(taken):.2f} ms; from bars as the account keeps them",
    )
