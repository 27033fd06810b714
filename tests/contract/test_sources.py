"""Every registered source keeps the contract; a new line in SOURCES is picked up by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from hedgefund_core.configuration import FilesSettings, SourcesSettings
from hedgefund_core.errors import ConfigError
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import BARS, CORPORATE_ACTIONS
from hedgefund_dagster.partitions import YEARS
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.sources import SOURCES, open_source
from hedgefund_dagster.sources.bar_table import action_rows, bar_rows, partition_rows, year_partitions
from hedgefund_dagster.sources.source import BAR_FIELDS, Partitioning
from tests.builders import price_rows, write_price_folder

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 1, 6, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_price_folder(tmp_path_factory.mktemp("prices") / "mine", price_rows())


@pytest.fixture(params=sorted(SOURCES))
def source(request, folder):
    return open_source(request.param, SourcesSettings(files=FilesSettings(folder=str(folder))))


def payloads_of(source, moment=NOW):
    return {payload.dataset: payload for payload in source.fetch(moment)}


def test_rows_have_the_schema_and_three_times(source):
    rows = bar_rows(source.bars(payloads_of(source)), source.facts, NOW)
    assert rows.schema.equals(arrow_schema(BARS))
    assert rows.num_rows > 0
    assert pc.all(pc.greater(rows.column("known_at"), rows.column("ts"))).as_py(), "nothing is known before it happened"
    assert set(rows.column("known_at_basis").unique().to_pylist()) == {"assumed"}
    assert pc.unique(rows.column("recorded_at")).to_pylist() == [NOW]


def test_fields_the_source_does_not_carry_are_null_in_every_row(source):
    rows = bar_rows(source.bars(payloads_of(source)), source.facts, NOW)
    for name in set(BAR_FIELDS) - set(source.facts.fields):
        assert rows.column(name).null_count == rows.num_rows, f"{name} was made up"


def test_a_close_only_file_leaves_the_other_fields_null(folder):
    source = open_source("files", SourcesSettings(files=FilesSettings(folder=str(folder))))
    rows = bar_rows(source.bars(payloads_of(source)), source.facts, NOW)
    assert all(rows.column(name).null_count == rows.num_rows for name in BAR_FIELDS if name != "close")


def test_facts_name_price_kind_licence_and_the_direction_of_each_bias(source):
    facts = source.facts
    assert isinstance(facts.price_kind, PriceKind)
    assert facts.licence
    assert facts.biases, "a data set without a known bias has not been looked at"
    assert all(bias.name and bias.direction for bias in facts.biases)


def test_payloads_say_where_from_and_when_without_a_machine_path(source):
    for payload in source.fetch(NOW):
        assert payload.source == source.facts.name
        assert payload.retrieved_at == NOW
        assert not payload.origin.startswith("/")
        assert len(payload.sha256) == 64


def test_ingesting_the_same_again_adds_nothing(source, tmp_path):
    lake, name = Lake(tmp_path), source.facts.name
    for moment in (NOW, LATER):
        records = [lake.raw.put(payload) for payload in source.fetch(moment)]
        assert {record.retrieved_at for record in records} == {NOW.isoformat()}, "the first retrieval is kept"
        rows = bar_rows(source.bars(lake.raw.latest(name)), source.facts, moment)
        added = sum(lake.write_bars(name, year, partition_rows(rows, year)).added for year in year_partitions(rows))
        assert added == (rows.num_rows if moment == NOW else 0)
    assert lake.read_bars(name).num_rows == rows.num_rows


def test_every_row_falls_into_a_partition(source):
    rows = bar_rows(source.bars(payloads_of(source)), source.facts, NOW)
    years = set(year_partitions(rows))
    if source.facts.partitioning is Partitioning.YEARLY:
        assert years <= set(YEARS.get_partition_keys())
        assert min(years) == source.facts.first
        assert max(years) == source.facts.last
    assert sum(partition_rows(rows, year).num_rows for year in years) == rows.num_rows


def test_corporate_actions_say_where_they_come_from(source):
    actions = source.corporate_actions(payloads_of(source))
    if actions is None:
        assert not source.facts.has_corporate_actions or source.facts.price_kind is not PriceKind.RAW
        return
    rows = action_rows(actions, source.facts, NOW)
    assert rows.schema.equals(arrow_schema(CORPORATE_ACTIONS))
    assert actions.provenance
    assert set(actions.kind.tolist()) <= {"split", "dividend"}
    assert (actions.value > 0).all()


def test_the_bundled_splits_are_the_real_ones():
    source = open_source("bundled_ohlcv", SourcesSettings())
    actions = source.corporate_actions(payloads_of(source))
    splits = actions.kind == "split"
    found = {
        (str(s), str(d), float(v)) for s, d, v in zip(actions.symbol[splits], actions.session[splits], actions.value[splits], strict=True)
    }
    assert found == {("AAPL", "2000-06-21", 2.0), ("AAPL", "2005-02-28", 2.0), ("MSFT", "2003-02-18", 2.0)}
    special = (actions.symbol == "MSFT") & (actions.session == np.datetime64("2004-11-15"))
    assert actions.value[special].tolist() == [3.08], "the special dividend of 3 dollars beside the regular 8 cents"


def test_half_days_close_early():
    source = open_source("bundled_ohlcv", SourcesSettings())
    rows = bar_rows(source.bars(payloads_of(source)), source.facts, NOW).to_pylist()
    closes = {str(row["session"]): row["ts"].strftime("%H:%M") for row in rows if row["symbol"] == "IBM"}
    assert (closes["2012-11-21"], closes["2012-11-23"], closes["2012-06-01"]) == ("21:00", "18:00", "20:00")


def test_the_price_index_is_labelled_as_one():
    benchmark = open_source("bundled_sp500", SourcesSettings()).benchmark(payloads_of(open_source("bundled_sp500", SourcesSettings())))
    assert benchmark is not None
    assert "price index" in benchmark.name


def test_an_unknown_source_names_the_known_ones():
    with pytest.raises(ConfigError, match="bundled_sp500"):
        open_source("bloomberg", SourcesSettings())
