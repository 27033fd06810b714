"""The sources as the asset graph sees them: facts that stand before any configuration is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from hedgefund_core.configuration import SourcesSettings
from hedgefund_dagster.sources import SERVED, SOURCES, open_source
from hedgefund_dagster.sources.source import SourceFacts

T = TypeVar("T")


def all_facts() -> list[SourceFacts]:
    """Facts of every source research can run on, under default settings."""
    return [open_source(name, SourcesSettings()).facts for name in (*SOURCES, *SERVED)]


def for_each_source(make: Callable[[SourceFacts], Sequence[T]]) -> list[T]:
    """What a slice makes of each source, in one list."""
    return [made for facts in all_facts() for made in make(facts)]


def for_each_fetched(make: Callable[[SourceFacts], Sequence[T]]) -> list[T]:
    """What the ingest slice makes of each source that is fetched at once: what vendors serve has assets of its own."""
    return [made for facts in all_facts() if facts.name in SOURCES for made in make(facts)]
