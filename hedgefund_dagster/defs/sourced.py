"""The sources as the asset graph sees them: facts that stand before any configuration is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from hedgefund_core.configuration import SourcesSettings
from hedgefund_dagster.sources import SOURCES, open_source
from hedgefund_dagster.sources.source import SourceFacts

T = TypeVar("T")


def all_facts() -> list[SourceFacts]:
    """Facts of every registered source under default settings."""
    return [open_source(name, SourcesSettings()).facts for name in SOURCES]


def for_each_source(make: Callable[[SourceFacts], Sequence[T]]) -> list[T]:
    """What a slice makes of each source, in one list."""
    return [made for facts in all_facts() for made in make(facts)]
