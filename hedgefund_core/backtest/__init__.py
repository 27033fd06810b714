"""Backtests: ``run_target_weights`` is the fast engine in float64 arrays; ``event_driven`` runs the live machine itself."""

from __future__ import annotations

from hedgefund_core.backtest.result import BacktestResult
from hedgefund_core.backtest.vectorized import run_target_weights

__all__ = ["BacktestResult", "run_target_weights"]
