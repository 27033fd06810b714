"""Shared builders of test data. Append functions; do not change those of others."""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


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


def price_rows(
    n_symbols: int = 8, n_sessions: int = 1100, *, seed: int = 0
) -> list[tuple[str, str, float]]:  # (symbol, date, close), walks
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


# ---- an account that can trade --------------------------------------------------------------------------------------


def tradable_panel(n_sessions: int = 160, n_symbols: int = 8, seed: int = 11, *, opens: bool = True) -> Panel:
    """A random walk with times, as ingest writes it: what the executor replays."""
    panel = noisy_panel(seed=seed, n_sessions=n_sessions, n_symbols=n_symbols)
    close_at = panel.sessions.astype("datetime64[us]") + np.timedelta64(21, "h")
    dividends = np.zeros(panel.shape)
    dividends[n_sessions // 2 :: 7, 1] = 0.1
    volume = None if panel.volume is None else panel.volume * 0.2  # some auction orders fill in part
    timed = replace(panel, close_at=close_at, known_at=close_at + np.timedelta64(15, "m"), dividends=dividends, volume=volume)
    return timed if opens else replace(close_only(timed), close_at=close_at, known_at=timed.known_at, dividends=None)


def write_executor_house(
    house: Path, panel: Panel, *, feature: str = "reversal_5", trained: int = 130, expires_after_days: int = 400
) -> Path:
    """Panel, promotion key and a signed bundle under ``house``; returns the bundle's folder."""
    from hedgefund_core.layout import panel_file
    from hedgefund_core.quant.panel_codec import pack_panel

    path = house / "data" / panel_file(panel.source)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack_panel(panel))
    return write_bundle(house, panel, feature=feature, trained=trained, expires_after_days=expires_after_days)


def _promotion_key(keys: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    keys.mkdir(parents=True, exist_ok=True)
    secret = keys / "promotion.key"
    if not secret.exists():
        made = Ed25519PrivateKey.generate()
        secret.write_bytes(made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        secret.chmod(0o600)
        public = made.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (keys / "promotion.pub").write_bytes(public)
    key = serialization.load_pem_private_key(secret.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def write_bundle(
    house: Path,
    panel: Panel,
    *,
    feature: str = "reversal_5",
    trained: int = 130,
    name: str = "bundle",
    passed: bool = True,
    expires_after_days: int = 400,
    **gate: str,
) -> Path:
    """A signed one-feature rule as a bundle folder; the promotion key is made where there is none."""
    import base64
    import hashlib

    from hedgefund_core import bundle as b
    from hedgefund_core.quant.features import code_digest, compute_features, resolve
    from hedgefund_core.quant.models import single_feature_rule

    key = _promotion_key(house / "config" / "keys")
    features = compute_features(panel, [feature])
    specs = tuple(resolve([feature]))
    manifest = b.Manifest(
        schema=b.SCHEMA,
        name="rule",
        kind="rule",
        features=specs,
        columns=(feature,),
        code_digest=code_digest(specs),
        universe=panel.symbols,
        calendar="observed",
        price_kind=panel.price_kind.value,
        source=panel.source,
        trained_from=str(panel.sessions[0]),
        trained_through=str(panel.sessions[trained]),
        expires_after_days=expires_after_days,
        signal_contract=b.SignalContract(min_coverage=0.5, max_abs_score=1e6),
        mandate="market_neutral",
        data_versions={panel.source: panel.data_version},
        mlflow_run_id="run",
        dagster_run_id="dagster",
        gate=b.GateRecord(kind=gate.pop("kind", "bootstrap"), passed=passed, **gate),
    )
    manifest, files = b.with_files(manifest, single_feature_rule(feature), features.values[trained])
    named = msgspec.structs.replace(manifest, key_id=hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()[:16])
    signed = msgspec.structs.replace(named, signature=base64.b64encode(key.sign(b.signed_payload(named))).decode())
    folder = house / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in {**files, b.MANIFEST: b.manifest_bytes(signed)}.items():
        (folder / file).write_bytes(content)
    return folder


def planted_panel(seed: int = 1, n_names: int = 100, n_sessions: int = 2520, *, strength: float = 0.0) -> Panel:
    """Closes whose losers of the last month recover: ``strength`` is the daily return for one standard deviation; 0 plants nothing.

    At 0.0004 and 2 % daily volatility the rank information coefficient of a month's reversal is about 0.05.
    """
    generator = np.random.default_rng(seed)
    returns = 0.02 * generator.standard_normal((n_sessions, n_names))
    month = 21
    for t in range(month, n_sessions if strength else 0):
        lost = returns[t - month : t].sum(axis=0)
        returns[t] -= strength * (lost - lost.mean()) / lost.std()
    sessions = np.busday_offset("2005-01-03", np.arange(n_sessions))
    closes = sessions.astype("datetime64[us]") + np.timedelta64(21, "h")
    return Panel(
        sessions=sessions,
        symbols=tuple(f"N{i:03d}" for i in range(n_names)),
        price_kind=PriceKind.TOTAL_RETURN,
        close=np.round(100.0 * np.cumprod(1.0 + returns, axis=0), 6),
        known_at=closes + np.timedelta64(15, "m"),
        close_at=closes,
        source="files",
        data_version=f"planted-{seed}",
    )


def research_settings(**changes: object):  # config/models.yaml with one quick challenger and a grid for short histories
    from hedgefund_core.backtest.models_settings import ModelsSettings

    text = (Path(__file__).resolve().parents[1] / "config" / "models.yaml").read_text(encoding="utf-8")
    settings = msgspec.convert(yaml.safe_load(text), ModelsSettings, strict=False)
    walk = msgspec.structs.replace(settings.walk_forward, first_train_sessions=378)
    choice = msgspec.structs.replace(settings.choice, selection_folds=1)
    quick = {"challengers": {"ridge": ({"alpha": 1000.0},)}, "walk_forward": walk, "choice": choice}
    return msgspec.structs.replace(settings, **{**quick, **changes})


RESEARCHED = ("momentum_12_1", "momentum_3_1", "reversal_21", "volatility_21", "volatility_63")


def researched(panel: Panel, lake, settings=None, *, features: tuple[str, ...] = RESEARCHED):  # study, walk record, scores
    from hedgefund_core.quant.features import resolve
    from hedgefund_dagster.defs.training.records import WalkRecord
    from hedgefund_dagster.defs.training.study import study
    from hedgefund_dagster.defs.training.walk import candidates, walk_all

    settings = settings or research_settings()
    made = study(panel, compute_features(panel, list(features)).values, tuple(resolve(features)), mandate(), settings, "")
    walked = walk_all(made, lake)
    record = WalkRecord(
        book="own_files",
        mandate=made.mandate.name,
        cut=made.cut,
        data_version=panel.data_version,
        features=features,
        folds=len(made.folds),
        first_position=made.tested_from,
        tested_from=str(panel.sessions[made.tested_from]),
        judged_from=str(panel.sessions[made.judged_from]),
        candidates=candidates(walked, settings, {}),
    )
    return made, record, [one.scores for one in walked]
