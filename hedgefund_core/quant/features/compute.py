"""Values of features: of a whole panel, of its last session, and session by session.

All three give the same bits (tests/contract/test_features.py), which is what makes a replay of the live stream possible.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from importlib.abc import ResourceLoader

import numpy as np

# The package itself, not a name in it: the registry imports this module, so FEATURES is looked up when it is called for.
import hedgefund_core.quant.features as registry
from hedgefund_core.errors import ConfigError, DataInvalid, InvariantViolation, ModelMismatch
from hedgefund_core.quant.bars import FIELDS, Floats, KnownAtBasis, Panel, PriceKind
from hedgefund_core.quant.features.feature import Feature, FeaturePanel, FeatureSpec
from hedgefund_core.quant.features.kernels import Bars
from hedgefund_core.quant.features.window import Window

FeatureName = str | FeatureSpec
_SHARED_MODULES = ("hedgefund_core.quant.features.feature", "hedgefund_core.quant.features.kernels")
_MIN_WINDOWS_PER_PANEL = 3
_ROW_FIELDS = (*FIELDS, "dividends", "split_ratios")


def feature_named(name: str) -> Feature:
    """The registered feature; raises ConfigError for an unknown name."""
    if name not in registry.FEATURES:
        message = f"unknown feature {name!r}"
        raise ConfigError(message, mend=f"choose among {', '.join(sorted(registry.FEATURES))}")
    return registry.FEATURES[name]


def resolve(names: Sequence[FeatureName]) -> list[FeatureSpec]:
    """Specs of ``names`` (a plain name means default parameters).

    Raises
    ------
    ConfigError
        Unknown feature or parameter.
    ModelMismatch
        A spec whose stated warm-up is not the one its code needs: the bundle was made with other code.
    """
    specs = []
    for item in names:
        if isinstance(item, str):
            specs.append(feature_named(item).spec())
            continue
        spec = feature_named(item.name).spec(item.params)
        if spec.warm_up != item.warm_up:
            message = f"feature {item.name} needs {spec.warm_up} rows, its spec says {item.warm_up}"
            raise ModelMismatch(message, mend="train and promote the model again with this code")
        specs.append(spec)
    return specs


def max_warm_up(names: Sequence[FeatureName]) -> int:
    """Rows needed for one value of every feature (at least 1)."""
    return max((spec.warm_up for spec in resolve(names)), default=1)


def compute_features(panel: Panel, names: Sequence[FeatureName]) -> FeaturePanel:
    """Values of features at every session of a panel.

    Parameters
    ----------
    panel : bars; NaN = no bar.
    names : feature names (default parameters) or specs.

    Returns
    -------
    FeaturePanel of float64 (n_sessions, n_symbols, n_features). A value is NaN where a bar it needs is absent.

    Raises
    ------
    ConfigError, ModelMismatch
        See `resolve`.
    DataInvalid
        The panel lacks a field or has the wrong kind of price.

    Notes
    -----
    No look-ahead: the value at t reads rows t - warm_up + 1 … t only, whatever follows.
    """
    specs = resolve(names)
    values = np.full((*panel.shape, len(specs)), np.nan)
    bars = Bars(panel, panel.shape[0])
    for column, spec in enumerate(specs):
        values[:, :, column] = feature_named(spec.name).last_values(bars, spec.params)
    return FeaturePanel(values=values, names=tuple(spec.name for spec in specs), sessions=panel.sessions, symbols=panel.symbols)


def latest_features(bars: Panel | Window, names: Sequence[FeatureName]) -> Floats:
    """Values at the last session, float64 (n_symbols, n_features), each from its last ``warm_up`` rows only.

    The same bits as ``compute_features(panel, names).values[-1]``; all NaN for an empty panel. Raises as `compute_features`.
    """
    specs = resolve(names)
    last = bars.bars() if isinstance(bars, Window) else Bars(bars, 1)
    values = np.full((last.panel.shape[1], len(specs)), np.nan)
    for column, spec in enumerate(specs):
        values[:, column] = feature_named(spec.name).last_values(last, spec.params)[0]
    return values


def default_specs(panel: Panel, *, longest_warm_up: int | None = None) -> list[FeatureSpec]:
    """Every registered feature that ``panel`` has the fields, the kind of price and the length for.

    A feature whose warm-up is over a third of the panel is left out: it would leave too few rows to learn from.
    ``longest_warm_up`` overrides that third.
    """
    longest = panel.shape[0] // _MIN_WINDOWS_PER_PANEL if longest_warm_up is None else longest_warm_up
    specs = [feature.spec() for feature in registry.FEATURES.values() if not feature.lacks(panel)]
    return [spec for spec in specs if spec.warm_up <= longest]


def _source_bytes(module: str) -> bytes:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None or not isinstance(found.loader, ResourceLoader):
        message = f"the source of {module} cannot be read"
        raise InvariantViolation(message)
    return found.loader.get_data(found.origin)


def code_digest(names: Sequence[FeatureName]) -> str:
    """sha256 (hex) over the source of the feature files used, the kernels and the contract: what a bundle pins.

    Other code may change without making a bundle stale; a changed feature may not.
    """
    modules = {feature_named(spec.name).kernel.__module__ for spec in resolve(names)} | set(_SHARED_MODULES)
    digest = hashlib.sha256()
    for module in sorted(modules):
        digest.update(f"{module}={hashlib.sha256(_source_bytes(module)).hexdigest()}\n".encode())
    return digest.hexdigest()


class FeatureStream:
    """Features session by session, holding the last ``warm_up`` rows and nothing else."""

    def __init__(
        self,
        names: Sequence[FeatureName],
        symbols: Sequence[str],
        *,
        price_kind: PriceKind = PriceKind.TOTAL_RETURN,
        source: str = "stream",
    ) -> None:
        self._specs = resolve(names)
        self._keep = max_warm_up(self._specs)
        self._symbols = tuple(symbols)
        self._price_kind = price_kind
        self._source = source
        self._window: Window | None = None

    @classmethod
    def from_panel(cls, names: Sequence[FeatureName], panel: Panel) -> FeatureStream:
        """A stream warmed up with the last rows of ``panel``."""
        stream = cls(names, panel.symbols, price_kind=panel.price_kind, source=panel.source)
        stream._window = Window.of(panel.rows(max(0, panel.shape[0] - stream._keep), panel.shape[0]))
        return stream

    @property
    def specs(self) -> list[FeatureSpec]:
        """The features, in column order."""
        return list(self._specs)

    @property
    def panel(self) -> Panel | None:
        """The rows held: the last ``warm_up`` sessions, or None before the first update."""
        return None if self._window is None else self._window.panel

    @property
    def rows_missing(self) -> int:
        """Sessions still to come before every feature can have a value."""
        return self._keep - (0 if self._window is None else self._window.panel.shape[0])

    def update(self, bars: Panel | Mapping[str, Floats], session: np.datetime64 | None = None) -> Floats:
        """Append a session and return its features, float64 (n_symbols, n_features).

        Parameters
        ----------
        bars : a panel of one or more rows, or field -> float64 (n_symbols,) with its ``session``.
        session : label of the session; needed with a mapping.

        Raises
        ------
        DataInvalid
            If the session is not after the last one, or symbols, fields or kind of price differ from those held.
        """
        added = bars if isinstance(bars, Panel) else self._row(bars, session)
        if self._window is None:
            if added.symbols != self._symbols or added.price_kind is not self._price_kind:
                message = f"bars of {added.source} have other symbols or another kind of price than the stream"
                raise DataInvalid(message, mend="feed the stream from the panel of its own source")
            self._window = Window.of(added.rows(max(0, added.shape[0] - self._keep), added.shape[0]))
        else:
            self._window = self._window.extended(added, keep=self._keep)
        return self.latest()

    def latest(self) -> Floats:
        """Features of the last session held, float64 (n_symbols, n_features); all NaN before the first update."""
        if self._window is None:
            return np.full((len(self._symbols), len(self._specs)), np.nan)
        return latest_features(self._window, self._specs)

    def _row(self, bars: Mapping[str, Floats], session: np.datetime64 | None) -> Panel:
        unknown = sorted(set(bars) - set(_ROW_FIELDS))
        if session is None or unknown or "close" not in bars:
            message = f"a row of bars needs its session and a close, and knows no {', '.join(unknown) or 'other field'}"
            raise DataInvalid(message)
        rows = {name: np.asarray(values, dtype=np.float64).reshape(1, -1) for name, values in bars.items()}
        return Panel(
            sessions=np.array([session], dtype="datetime64[D]"),
            symbols=self._symbols,
            price_kind=self._price_kind,
            close=rows["close"],
            open=rows.get("open"),
            high=rows.get("high"),
            low=rows.get("low"),
            volume=rows.get("volume"),
            dividends=rows.get("dividends"),
            split_ratios=rows.get("split_ratios"),
            known_at_basis=KnownAtBasis.OBSERVED,
            source=self._source,
        )
