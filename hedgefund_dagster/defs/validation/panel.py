"""The panel of a source's validated bars, and the manifest that walks back to the raw files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hedgefund_core.configuration import UniverseSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import FIELDS, Floats, Panel, PriceKind
from hedgefund_core.quant.panel_build import (
    BenchmarkLevel,
    LongActions,
    LongBars,
    PanelFacts,
    build_panel,
    equal_weight_level,
    with_benchmark,
)
from hedgefund_core.schemas import CORPORATE_ACTIONS, VALIDATED_BARS
from hedgefund_dagster.resources.lake import Lake, PanelManifest
from hedgefund_dagster.resources.lake_files import column_texts
from hedgefund_dagster.sources.source import Source, SourceFacts

EQUAL_WEIGHT = "equal_weight"


def panel_of(lake: Lake, source: Source, universe: UniverseSettings) -> Panel:
    """Pivot the validated bars of the universe's symbols, with actions and benchmark where the source has them."""
    facts = source.facts
    rows = lake.read_table(VALIDATED_BARS, facts.name)
    rows = rows.filter(pa.array(np.isin(column_texts(rows, "symbol"), _chosen(column_texts(rows, "symbol"), universe, facts))))
    bars = _long_bars(rows, facts)
    known = facts.price_kind is PriceKind.RAW and lake.has_table(CORPORATE_ACTIONS, facts.name)
    actions = long_actions(lake.read_table(CORPORATE_ACTIONS, facts.name)) if known else None
    panel_facts = PanelFacts(
        source=facts.name,
        price_kind=facts.price_kind,
        currency=facts.currency,
        tick=facts.tick,
        sessions_per_year=facts.sessions_per_year or _sessions_per_year(bars.session),
    )
    panel = build_panel(bars, panel_facts, actions=actions)
    return with_benchmark(panel, _benchmark(lake, source, panel))


def panel_manifest(lake: Lake, source: Source, panel: Panel, *, research_start: str) -> PanelManifest:
    """The facts of a panel, without digests: the lake adds those when it writes."""
    facts = source.facts
    rows = lake.read_table(VALIDATED_BARS, facts.name)
    used = set(np.unique(column_texts(rows, "raw_sha256")).tolist())
    latest = {record.dataset: record for record in lake.raw.records(facts.name)}
    behind = {r.sha256: r for r in lake.raw.records(facts.name) if r.sha256 in used} | {r.sha256: r for r in latest.values()}
    return PanelManifest(
        source=facts.name,
        data_version="",
        sha256="",
        rows=int(np.isfinite(panel.close).sum()),
        symbols=panel.symbols,
        first_session=str(panel.sessions[0]),
        last_session=str(panel.sessions[-1]),
        price_kind=panel.price_kind.value,
        calendar=facts.calendar,
        currency=panel.currency,
        benchmark_name=panel.benchmark_name,
        known_at_basis=panel.known_at_basis.value,
        recorded_as_of=pc.max(rows.column("recorded_at")).as_py().isoformat(),
        research_start=research_start or str(panel.sessions[0]),
        biases=tuple((bias.name, bias.direction) for bias in facts.biases),
        not_evaluable=facts.not_evaluable,
        quarantined=sum(1 for free in lake.quarantine.read(facts.name).column("released").to_pylist() if not free),
        raw_files=tuple(behind.values()),
    )


def _chosen(symbols: NDArray[np.str_], universe: UniverseSettings, facts: SourceFacts) -> list[str]:
    """Symbols of the universe; raises DataInvalid for one the data do not have."""
    present = set(symbols.tolist())
    named = set(universe.symbols) if universe.source == facts.name else set()
    excluded = set(universe.exclude) if universe.source == facts.name else set()
    unknown = sorted((named | excluded) - present)
    if unknown:
        message = f"unknown symbol {', '.join(unknown)}: {facts.name} has {', '.join(sorted(present))}"
        raise DataInvalid(message, mend="correct `symbols` or `exclude` in config/universe.yaml")
    return sorted((named or present) - excluded)


def _sessions_per_year(session: NDArray[np.datetime64]) -> float:
    """Counted from the dates: sessions over years."""
    sessions = np.unique(session)
    days = max(float((sessions[-1] - sessions[0]).astype(int)), 1.0) if len(sessions) else 1.0
    return round((len(sessions) - 1) / days * 365.25, 1)


def _long_bars(rows: pa.Table, facts: SourceFacts) -> LongBars:
    return LongBars(
        symbol=column_texts(rows, "symbol"),
        session=rows.column("session").to_numpy().astype("datetime64[D]"),
        close_at=rows.column("ts").cast(pa.timestamp("us")).to_numpy(),
        known_at=rows.column("known_at").cast(pa.timestamp("us")).to_numpy(),
        fields={name: rows.column(name).to_numpy().astype(np.float64) for name in FIELDS if name in facts.fields},
    )


def long_actions(rows: pa.Table) -> LongActions:
    """Rows of the corporate action table column-wise."""
    return LongActions(
        symbol=column_texts(rows, "symbol"),
        session=rows.column("session").to_numpy().astype("datetime64[D]"),
        kind=column_texts(rows, "kind"),
        value=rows.column("value").to_numpy().astype(np.float64),
    )


def _benchmark(lake: Lake, source: Source, panel: Panel) -> BenchmarkLevel:
    """The source's own benchmark, a named symbol of the panel, or equal weight of the same names."""
    facts = source.facts
    own = source.benchmark(lake.raw.latest(facts.name))
    if own is not None:
        return BenchmarkLevel(name=own.name, session=own.sessions, level=own.level)
    level: Floats
    if facts.benchmark_name in panel.symbols:
        level = panel.close[:, panel.symbols.index(facts.benchmark_name)]
        return BenchmarkLevel(name=facts.benchmark_name, session=panel.sessions, level=level)
    if facts.benchmark_name != EQUAL_WEIGHT:
        message = f"the benchmark {facts.benchmark_name} is no symbol of {facts.name}"
        raise DataInvalid(message, mend="set `files.benchmark` in config/sources.yaml to a SYMBOL of the data or to equal_weight")
    return BenchmarkLevel(name="equal weight of the same names", session=panel.sessions, level=equal_weight_level(panel.close))
