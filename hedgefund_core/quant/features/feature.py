"""The contract of a feature: a float64 function of a finite trailing window of a panel.

A feature's value at session t depends on the rows t - warm_up + 1 … t only, through operations in a fixed order
(see kernels.py). Hence the value of a batch run and the value from the last ``warm_up`` rows alone are the same bits, and
the values of research, replay and live trading cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import ConfigError, DataInvalid, InvariantViolation
from hedgefund_core.quant.bars import Floats, Panel, PriceKind
from hedgefund_core.quant.features.kernels import Bars

Params = Mapping[str, float | int]
Kernel = Callable[[Bars, Params], Floats]

ANY_PRICE_KIND = frozenset(PriceKind)
"""For features that are ratios of prices: splits and dividends cancel or are adjusted as of each session."""
TRADED_PRICE_KINDS = frozenset({PriceKind.RAW, PriceKind.SPLIT_ADJUSTED})
"""For features that need traded dollars: a total-return level is no price anyone paid."""


class FeatureSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A feature with its parameters fixed, as a bundle carries it."""

    name: str
    params: dict[str, float | int]
    warm_up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A named, documented function of a trailing window.

    Attributes
    ----------
    name : registry key and column name.
    description : what it measures, its unit and its sign, in one sentence.
    reference : author and year of the paper or rule.
    inputs : panel fields it needs.
    params : default parameters; a spec may change their values, never their names.
    warm_up : rows needed for one value, from the parameters.
    price_kinds : kinds of price it is meaningful on.
    kernel : (bars, params) -> float64 (rows, n_symbols), the newest last: of the rows wanted, those that a whole window ends at.
    """

    name: str
    description: str
    reference: str
    inputs: tuple[str, ...]
    params: Params
    warm_up: Callable[[Params], int]
    kernel: Kernel
    price_kinds: frozenset[PriceKind] = ANY_PRICE_KIND

    def spec(self, params: Params | None = None) -> FeatureSpec:
        """The feature with ``params`` laid over its defaults.

        Raises
        ------
        ConfigError
            If a parameter is unknown.
        """
        changes = dict(params or {})
        unknown = sorted(set(changes) - set(self.params))
        if unknown:
            message = f"feature {self.name} has no parameter {', '.join(unknown)}"
            raise ConfigError(message, mend=f"use {', '.join(sorted(self.params)) or 'no parameters'}")
        merged = {**self.params, **changes}
        return FeatureSpec(name=self.name, params=merged, warm_up=self.warm_up(merged))

    def lacks(self, panel: Panel) -> str:
        """Why the feature cannot be computed on ``panel``; empty if it can."""
        if panel.price_kind not in self.price_kinds:
            return f"it is not meaningful on {panel.price_kind.value} prices"
        missing = [name for name in self.inputs if getattr(panel, name) is None]
        if missing:
            return f"source {panel.source} has no {', '.join(missing)}"
        if panel.price_kind is PriceKind.RAW and panel.split_ratios is None:
            return "raw prices without split ratios would turn a split into a return"
        return ""

    def values(self, panel: Panel, params: Params) -> Floats:
        """float64 (n_sessions, n_symbols) of ``panel``; infinite values become NaN (no value). Raises as `last_values`."""
        return self.last_values(Bars(panel, panel.shape[0]), params)

    def last_values(self, bars: Bars, params: Params) -> Floats:
        """float64 (bars.rows, n_symbols), of the last sessions; infinite values become NaN (no value).

        Raises
        ------
        DataInvalid
            If the panel lacks an input or has a kind of price the feature is not meaningful on.
        """
        reason = self.lacks(bars.panel)
        if reason:
            message = f"feature {self.name} cannot be computed: {reason}"
            raise DataInvalid(message, mend="remove the feature or choose a source that carries its inputs")
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            raw = self.kernel(bars, params)
        rows, width = bars.rows, bars.panel.shape[1]
        whole = max(min(rows, bars.panel.shape[0] - self.warm_up(params) + 1), 0)
        if raw.shape != (whole, width):
            message = f"feature {self.name} returned shape {raw.shape}, expected {(whole, width)}"
            raise InvariantViolation(message)
        out = np.full((rows, width), np.nan)
        np.copyto(out[rows - whole :], raw, where=np.isfinite(raw))
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePanel:
    """Feature values on the axes of a panel.

    Attributes
    ----------
    values : float64 (n_sessions, n_symbols, n_features); NaN = no value.
    names : feature names, the order of the last axis.
    sessions, symbols : axes of the panel the values came from.
    """

    values: Floats
    names: tuple[str, ...]
    sessions: NDArray[np.datetime64]
    symbols: tuple[str, ...]

    def field(self, name: str) -> Floats:
        """float64 (n_sessions, n_symbols) of one feature; raises DataInvalid if it is not in the panel."""
        if name not in self.names:
            message = f"no feature {name!r} among {', '.join(self.names)}"
            raise DataInvalid(message)
        return self.values[:, :, self.names.index(name)]
