"""One data set, several vendors: the first that is available serves it, the others and their reasons stay visible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hedgefund_core.errors import ConfigError, DataUnavailable
from hedgefund_core.quant.bars import PriceKind

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Generic[T]):
    """A vendor that can serve the data set, and how to ask it."""

    vendor: str
    price_kind: PriceKind | None
    ask: Callable[[], T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served(Generic[T]):
    """What came, from whom, and why those before did not serve: ``passed_over`` goes into the asset's metadata."""

    vendor: str
    value: T
    passed_over: tuple[tuple[str, str], ...]


def first_available(dataset: str, candidates: Sequence[Candidate[T]]) -> Served[T]:
    """Ask the vendors in their order until one answers.

    A vendor that is down, over its quota or not configured is passed over. One that answers nonsense (DataInvalid) is not:
    wrong data must be looked at, not replaced in silence.

    Raises
    ------
    ConfigError
        The candidates have different kinds of prices: what is read tomorrow would not fit what was read today.
    DataUnavailable
        No candidate serves; names each with its reason.
    """
    kinds = {candidate.price_kind for candidate in candidates}
    if len(kinds) > 1:
        spelt = ", ".join(f"{c.vendor} {c.price_kind.value if c.price_kind else 'no prices'}" for c in candidates)
        raise ConfigError(f"{dataset}: the vendors in its order have different kinds of prices: {spelt}", mend="keep one kind in the order")
    passed_over: list[tuple[str, str]] = []
    for candidate in candidates:
        try:
            value = candidate.ask()
        except (DataUnavailable, ConfigError) as error:
            passed_over.append((candidate.vendor, error.message))
            continue
        return Served(vendor=candidate.vendor, value=value, passed_over=tuple(passed_over))
    reasons = "; ".join(f"{vendor}: {reason}" for vendor, reason in passed_over) or "no vendor is named"
    raise DataUnavailable(f"{dataset}: no vendor serves it: {reasons}", mend="set a key in .env, or wait until a vendor is back")
