"""Shared builders of test data. Append functions; do not change those of others."""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import yaml

from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.quant.features import compute_features
from hedgefund_core.quant.features.kernels import returns_of
from hedgefund_core.quant.portfolio import OPTIMIZERS
from hedgefund_core.quant.portfolio.scaling import betas, market_returns
from hedgefund_core.quant.sessions import rebalance_mask
from hedgefund_core.quant.signals import quantize_scores
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext


def noisy_panel(  # a random walk with opens, ranges, volumes, two splits and optional holes
    seed: int = 7,
    n_sessions: int = 320,
    n_symbols: int = 4,
    price_kind: PriceKind = PriceKind.RAW,
    hole_share: float = 0.0,
) -> Panel:
    rng = np.random.default_rng(seed)
    shape = (n_sessions, n_symbols)
    growth = 1.0 + 0.0003 + 0.012 * rng.standard_normal(shape)
    splits = np.ones(shape)
    if price_kind is PriceKind.RAW:
        splits[n_sessions // 2, 0] = 2.0
        splits[n_sessions - 5, -1] = 1.5
    close = 50.0 * np.cumprod(growth / splits, axis=0)
    opened = close * (1.0 + 0.003 * rng.standard_normal(shape))
    high = np.maximum(opened, close) * (1.0 + 0.004 * rng.random(shape))
    low = np.minimum(opened, close) * (1.0 - 0.004 * rng.random(shape))
    volume = np.round(1e6 * (0.5 + rng.random(shape)))
    fields = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    holes = rng.random(shape) < hole_share
    sessions = np.datetime64("2001-01-01") + np.arange(n_sessions) + 2 * (np.arange(n_sessions) // 5)  # Monday to Friday
    return Panel(
        sessions=sessions.astype("datetime64[D]"),
        symbols=tuple(f"S{column}" for column in range(n_symbols)),
        price_kind=price_kind,
        split_ratios=splits,
        source="noise",
        **{name: np.where(holes, np.nan, values) for name, values in fields.items()},
    )


def close_only(panel: Panel) -> Panel:
    return replace(panel, open=None, high=None, low=None, volume=None, split_ratios=None, price_kind=PriceKind.TOTAL_RETURN)


def skfolio_panel(last_sessions: int | None = None) -> Panel | None:
    """The real closes shipped with skfolio, read without importing it; None where the package is not installed."""
    found = importlib.util.find_spec("skfolio")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "sp500_dataset.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        header, *lines = file.read().splitlines()
    cells = [line.split(",") for line in lines][-(last_sessions or 0) :]
    return Panel(
        sessions=np.array([row[0] for row in cells], dtype="datetime64[D]"),
        symbols=tuple(header.split(",")[1:]),
        price_kind=PriceKind.TOTAL_RETURN,
        close=np.array([[float(cell) if cell else np.nan for cell in row[1:]] for row in cells]),
        source="bundled_sp500",
    )


def mandate(name: str = "market_neutral") -> Mandate:
    """A mandate as config/risk.yaml states it."""
    text = (Path(__file__).resolve().parents[1] / "config" / "risk.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text)["mandates"][name], Mandate)


def momentum_weights(panel: Panel, book: Mandate) -> np.ndarray:
    """Raw weekly 12-1 weights at full gross, as the live decision builds them; NaN rows between."""
    scores = quantize_scores(compute_features(panel, ["momentum_12_1"]).values[:, :, 0])
    returns = returns_of(panel)
    market = market_returns(returns, None)
    build = OPTIMIZERS["rank_long_only" if book.long_only else "rank_neutral"]
    weights = np.full(panel.shape, np.nan)
    for row in np.flatnonzero(rebalance_mask(panel.sessions, "week_end")):
        if np.isfinite(scores[row]).any():
            window = slice(max(1, row + 1 - book.beta_window), row + 1)
            volatilities = np.full(panel.shape[1], 0.2)  # the rank books do not look at them
            weights[row] = build(scores[row], betas(returns[window], market[window]), volatilities, book.limits.max_gross)
    return weights


def risk_context(m: int = 20, **changes: object) -> RiskContext:
    """A flat account of a million with `m` liquid names at 100, nothing working, everything fresh."""
    healthy = RiskContext(
        equity=1e6,
        cash=1e6,
        quantity=np.zeros(m),
        working_buy=np.zeros(m),
        working_sell=np.zeros(m),
        working_orders=np.zeros(m, dtype=np.int64),
        price=np.full(m, 100.0),
        bar_age=np.zeros(m),
        daily_sigma=np.full(m, 0.01),
        adv=np.full(m, 1e6),
        frozen=np.zeros(m, dtype=np.bool_),
        admits_entries=True,
        model_age_days=10.0,
        model_expires_days=100.0,
        signal_coverage=1.0,
        signal_dispersion=1.0,
        signal_same_sign=0.5,
        batch_turnover=0.5,
        session_open=True,
    )
    return replace(healthy, **changes)


ORDER = {
    "instrument": 0,
    "sign": 1.0,
    "quantity": 100.0,
    "price": 100.0,
    "limit_price": np.nan,
    "reduction": False,
    "auction": True,
    "duplicate": False,
    "lot": 1.0,
}


def order_batch(*orders: dict[str, object]) -> OrderBatch:
    """Orders for the risk rules; what is not said is a sane buy of 100 shares of instrument 0 in an auction."""
    rows = [ORDER | order for order in orders]
    return OrderBatch(**{name: np.array([row[name] for row in rows], dtype=np.asarray(default).dtype) for name, default in ORDER.items()})


def price_rows(n_symbols: int = 8, n_sessions: int = 1100, *, seed: int = 0) -> list[tuple[str, str, float]]:  # (symbol, date, close), walks
    """Rows of a folder that is just long and wide enough for the source `files` (weekdays only)."""
    rng = np.random.default_rng(seed)
    days = np.arange(np.datetime64("2018-01-01"), np.datetime64("2030-01-01"))
    days = days[np.is_busday(days)][:n_sessions]
    closes = 50.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.012, (n_sessions, n_symbols)), axis=0))
    return [(f"S{j}", str(day), round(float(closes[i, j]), 4)) for j in range(n_symbols) for i, day in enumerate(days)]


def write_price_folder(folder: Path, rows: list[tuple[str, str, float]], *, header: str = "symbol,date,close") -> Path:
    """One CSV file of rows in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [header, *(",".join("" if cell is None else str(cell) for cell in row) for row in rows)]
    (folder / "prices.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
