"""Sources that hold the same bars are compared, kinds never mixed; statements in a wrong unit wait in their own quarantine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import numpy as np
import pyarrow as pa

from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import BARS, FUNDAMENTALS, VALIDATED_BARS
from hedgefund_dagster.defs.validation.agreement import agreement_check, disagreements, sources_of_kind
from hedgefund_dagster.defs.validation.facts import facts_check
from hedgefund_dagster.defs.validation.quality import quality_metadata
from hedgefund_dagster.resources.lake import Lake, LakeResource
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.resources.lake_quarantine import QuarantineStore
from hedgefund_dagster.sources.bundled_ohlcv import BundledOhlcv
from tests.defect_builders import FIELDS, clean_walk

FACTS = BundledOhlcv().facts
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PANEL = clean_walk(8, sessions=60, symbols=4)


def rows_of(source, changes=()):
    """The made-up market as rows of a source, some closes multiplied."""
    closes = PANEL.close.copy()
    for row, column, factor in changes:
        closes[row, column] *= factor
    rows = []
    for column, symbol in enumerate(PANEL.symbols):
        for row, session in enumerate(PANEL.sessions):
            ts = datetime.combine(session.astype(object), datetime.min.time(), UTC) + timedelta(hours=21)
            values = {name: float(getattr(PANEL, name)[row, column]) for name in FIELDS} | {"close": float(closes[row, column])}
            times = {"ts": ts, "known_at": ts + timedelta(minutes=15), "recorded_at": NOW, "known_at_basis": "vendor"}
            origin = {"source": source, "raw_sha256": "x", "source_row": row + 1}
            rows.append({"symbol": symbol, "session": session.astype(object), **times, **values, "adj_close": None, **origin})
    return pa.Table.from_pylist(rows, schema=arrow_schema(BARS))


def run(check, root):
    result = check(lake=LakeResource(root=str(root)))
    assert isinstance(result, dg.AssetCheckResult)
    return result


def test_bars_in_which_another_source_of_the_kind_disagrees_are_noted(own_house):
    lake = Lake(own_house / "data")
    lake.write_table(VALIDATED_BARS, FACTS.name, rows_of(FACTS.name, [(30, 1, 1.06)]), recorded_at=NOW)
    assert run(agreement_check(FACTS), own_house / "data").passed, "nobody else holds them"
    other = next(name for name in sources_of_kind(PriceKind.RAW) if name != FACTS.name)
    lake.write_bars(other, "2010", rows_of(other))
    result = run(agreement_check(FACTS), own_house / "data")
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    (noted,) = lake.quarantine.read(FACTS.name).to_pylist()
    assert (noted["symbol"], noted["rule"], noted["severity"]) == ("W001", "sources_disagree", "warning")
    assert str(PANEL.sessions[30]) == noted["ts"].date().isoformat()
    assert f"the bar of {FACTS.name} fits its neighbours less" in noted["reason"]
    assert disagreements(lake, FACTS, rows_of(FACTS.name), "nobody") is None


def test_kinds_of_price_are_never_compared():
    raw, adjusted = sources_of_kind(PriceKind.RAW), sources_of_kind(PriceKind.SPLIT_ADJUSTED)
    assert FACTS.name in raw
    assert not set(raw) & set(adjusted)


def test_a_statement_in_thousands_is_held_in_the_quarantine_of_fundamentals(own_house):
    rows = []
    for quarter in range(8):
        end = np.datetime64("2020-03-31") + 91 * quarter
        filed = datetime.combine((end + 40).astype(object), datetime.min.time(), UTC)
        values = {"Assets": 5e9 * 1.02**quarter, "Liabilities": 3e9, "Cash": 4e8, "StockholdersEquity": 2e9}
        for name, value in values.items():
            row = {column.name: None for column in FUNDAMENTALS.columns}
            row |= {"symbol": "AAA", "cik": 1, "entity": "A", "taxonomy": "us-gaap", "concept": name, "unit": "USD", "form": "10-Q"}
            row |= {"period_end": end.astype(object), "ts": filed - timedelta(days=40), "known_at": filed, "recorded_at": NOW}
            row |= {"known_at_basis": "vendor", "value": value * (0.001 if (name, quarter) == ("Assets", 4) else 1.0)}
            row |= {
                "filed": filed.date(),
                "accession": f"0000000001-20-{quarter:06d}",
                "source": "sec_edgar",
                "raw_sha256": "x",
                "source_row": 1,
            }
            rows.append(row)
    lake = Lake(own_house / "data")
    lake.versions.append(FUNDAMENTALS, "sec_edgar", pa.Table.from_pylist(rows, schema=arrow_schema(FUNDAMENTALS)))
    result = run(facts_check(dg.AssetKey(["sec_edgar", "fundamentals"]), "sec_edgar"), own_house / "data")
    assert not result.passed
    (held,) = QuarantineStore(lake.root, FUNDAMENTALS.name).read().to_pylist()
    assert (held["rule"], held["severity"], held["released"]) == ("wrong_scale", "error", False)
    assert held["instrument"].startswith("1/Assets/USD/")
    assert held["known_at"] > held["ts"]
    assert run(facts_check(dg.AssetKey(["sec_edgar", "fundamentals"]), "sec_edgar"), own_house / "data").metadata["findings_new"].value == 0


def test_the_quality_of_validated_bars_counts_holes_and_held_rows():
    rows = rows_of(FACTS.name)
    gone = np.ones(rows.num_rows, dtype=bool)
    gone[[10, 11, 12]] = False
    came = rows.filter(pa.array(gone))
    kept = came.slice(0, came.num_rows - 6)
    shown = quality_metadata(came, kept, FACTS)
    assert shown["quality_completeness"].value == round(237 / 240, 6)
    assert shown["quality_passing"].value == round(231 / 237, 6)
    assert shown["quality_timeliness"].value == 1.0
    assert shown["quality"].value < min(237 / 240, 231 / 237) + 1e-6
