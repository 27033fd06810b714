"""Which source serves a data set: the first of an order that can, of the same price kind as the first. Pure: it asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.quant.bars import PriceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A source in the order; ``trouble`` says why it cannot serve now (empty: it can)."""

    source: str
    price_kind: PriceKind | None
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The source that serves, and why each before it does not: shown in the asset's metadata."""

    source: str
    price_kind: PriceKind | None
    passed_over: tuple[tuple[str, str], ...]


def choose(dataset: str, candidates: Sequence[Candidate]) -> Choice:
    """The first candidate without trouble whose kind is that of the first in the order: kinds never mix.

    Raises
    ------
    DataUnavailable
        If none can serve; names each and its reason.
    """
    passed: list[tuple[str, str]] = []
    for candidate in candidates:
        wanted = candidates[0].price_kind
        if candidate.price_kind is not wanted:
            kinds = (candidate.price_kind or "none", wanted or "none")
            passed.append((candidate.source, f"its price kind is {kinds[0]}, not {kinds[1]}: kinds never mix"))
        elif candidate.trouble:
            passed.append((candidate.source, candidate.trouble))
        else:
            return Choice(source=candidate.source, price_kind=candidate.price_kind, passed_over=tuple(passed))
    reasons = "; ".join(f"{source}: {reason}" for source, reason in passed) or "the order is empty"
    raise DataUnavailable(
        f"{dataset}: no source of the fallback order can serve: {reasons}",
        mend="set a key, or add a source to `fallback` in config/sources.yaml; `make data-doctor` shows each",
    )
