"""What is particular to the vendors of macro data, filings and news: their pages, vintages and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from hedgefund_core.errors import ConfigError, DataInvalid, DataUnavailable
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.sources.stored import stored_through
from tests.contract.vendors.bench import NOW, bench_of
from tests.contract.vendors.loopback import Fault, Loopback, serving


def edited(server: Loopback, marker: bytes, old: bytes, new: bytes) -> None:
    """Replace text in the bodies that hold the marker."""
    server.edit = lambda body: body.replace(old, new) if marker in body else body


def test_fred_reads_all_pages_and_states_what_changed_only(tmp_path):
    with serving("fred") as server:
        bench = bench_of("fred", "series", server, tmp_path)
        rows = bench.rows().to_pylist()
        offsets = [seen.query["offset"] for seen in server.seen if seen.path.endswith("/observations")]
        assert offsets == ["0", "4"]
        assert [row["value"] for row in rows if str(row["period"]) == "2022-01-01"] == [21822.037], "an unchanged vintage is no row"


def test_fred_a_stored_series_is_asked_for_from_its_last_vintages_on(tmp_path):
    """A service with vintages that restates what holds at the first one asked for, as the real one does."""
    with serving("fred") as server:
        bench = bench_of("fred", "series", server, tmp_path / "vendor")
        dates = [date(2023, month, 1) for month in range(1, 13)]
        truth = {(date(2020 + year, 1, 1), day): 100.0 + year + (i // 3) for year in range(3) for i, day in enumerate(dates)}
        find = server.find

        def answered(path, query):
            exchange = find("/fred/series", {"series_id": "GNPCA", "file_type": "json"})
            if path.endswith("/vintagedates"):
                body = {"count": len(dates), "offset": 0, "limit": 10000, "vintage_dates": [str(day) for day in dates]}
            elif path.endswith("/observations"):
                observations = _observations(truth, date.fromisoformat(query["realtime_start"]), date.fromisoformat(query["realtime_end"]))
                body = {"count": len(observations), "offset": 0, "limit": 100000, "observations": observations}
            else:
                return exchange
            return replace(exchange, body=json.dumps(body).encode())

        server.find = answered
        whole = bench.rows()
        lake = Lake(tmp_path / "lake")
        early = replace(bench.case.scope, until=date(2023, 8, 15))
        first = bench.vendor.rows("series", bench.vendor.fetch("series", early, bench.client()), NOW)
        lake.versions.append(bench.table, "fred", first)
        dataset = bench.vendor.facts.dataset("series")
        known = stored_through(lake, "fred", dataset)
        assert known == {"GNPCA": date(2023, 7, 1)}, "the last vintage that said something new"
        server.seen.clear()
        later = replace(bench.case.scope, until=date(2023, 12, 31), stored_through=known)
        rest = bench.vendor.rows("series", bench.vendor.fetch("series", later, bench.client()), NOW)
        assert [seen.query["realtime_start"] for seen in server.seen if seen.path.endswith("/observations")] == ["2023-04-01"]
        lake.versions.append(bench.table, "fred", rest)
        columns = ["series_id", "period", "known_at", "value"]
        stored = lake.sql("SELECT * FROM macro").select(columns).sort_by([(name, "ascending") for name in columns])
        assert stored.to_pylist() == whole.select(columns).sort_by([(name, "ascending") for name in columns]).to_pylist()
        assert stored_through(lake, "tiingo", dataset) == {}


def _observations(truth, first, last):
    """As the service states them: one span a value, clipped to the days asked for."""
    found = []
    for period in sorted({period for period, _ in truth}):
        said = [(day, value) for (of, day), value in sorted(truth.items()) if of == period]
        spans = [
            (day, said[i + 1][0] - timedelta(days=1) if i + 1 < len(said) else date(9999, 12, 31), value)
            for i, (day, value) in enumerate(said)
        ]
        merged = []
        for begins, ends, value in spans:
            if merged and merged[-1][2] == value:
                merged[-1] = (merged[-1][0], ends, value)
            else:
                merged.append((begins, ends, value))
        found += [
            {"realtime_start": str(max(b, first)), "realtime_end": str(min(e, last)), "date": str(period), "value": str(value)}
            for b, e, value in merged
            if b <= last and e >= first
        ]
    return found


def test_fred_overlapping_pages_give_each_row_once(tmp_path):
    with serving("fred") as server:
        bench = bench_of("fred", "series", server, tmp_path)
        last = b'{"realtime_start": "2023-09-28", "realtime_end": "2024-03-28", "date": "2021-01-01", "value": "21407.692"}'
        edited(server, b'"offset": 4', b'"observations": [', b'"observations": [' + last + b",")
        assert bench.rows().num_rows == bench.case.rows


def test_fred_contradicting_pages_are_refused(tmp_path):
    with serving("fred") as server:
        bench = bench_of("fred", "series", server, tmp_path)
        other = b'{"realtime_start": "2023-09-28", "realtime_end": "2024-03-28", "date": "2021-01-01", "value": "99"}'
        edited(server, b'"offset": 4', b'"observations": [', b'"observations": [' + other + b",")
        with pytest.raises(DataInvalid, match="2021-01-01"):
            bench.rows()


def test_fred_a_page_served_twice_is_noticed(tmp_path):
    with serving("fred") as server:
        bench = bench_of("fred", "series", server, tmp_path)
        edited(server, b'"offset": 4', b'"offset": 4', b'"offset": 0')
        with pytest.raises(DataInvalid, match="`offset`"):
            bench.fetch()


def test_fred_endless_paging_ends(tmp_path):
    with serving("fred") as server:
        bench = bench_of("fred", "series", server, tmp_path)
        edited(server, b'"observations": [', b'"count": 6', b'"count": 600000000')
        with pytest.raises((DataInvalid, DataUnavailable)):
            bench.fetch()
        assert len(server.seen) < 12


def test_fred_an_empty_page_before_the_end_is_noticed(tmp_path):
    with serving("fred") as server:
        bench = bench_of("fred", "series", server, tmp_path)

        def emptied(body: bytes) -> bytes:
            return body.split(b'"observations": [')[0] + b'"observations": []}' if b'"observations": [' in body else body

        server.edit = emptied
        with pytest.raises(DataInvalid, match="`count`"):
            bench.fetch()


def test_fred_a_series_without_observations_has_no_rows(tmp_path):
    with serving("fred") as server:
        bench = bench_of("fred", "series", server, tmp_path)

        def emptied(body: bytes) -> bytes:
            head, found, _ = body.partition(b'"observations": [')
            return head.replace(b'"count": 6', b'"count": 0') + b'"observations": []}' if found else body

        server.edit = emptied
        assert bench.rows().num_rows == 0


def test_treasury_a_year_without_entries_is_no_error(tmp_path):
    with serving("us_treasury") as server:
        rows = bench_of("us_treasury", "par_yields", server, tmp_path).rows()
        assert [seen.query["field_tdr_date_value"] for seen in server.seen] == ["2024", "2025"]
        assert {str(row["period"])[:4] for row in rows.to_pylist()} == {"2024"}


def test_treasury_a_document_type_is_refused(tmp_path):
    with serving("us_treasury") as server:
        bench = bench_of("us_treasury", "par_yields", server, tmp_path)
        bomb = b'<!DOCTYPE feed [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>\n<feed'
        edited(server, b"<feed", b"<feed", bomb)
        with pytest.raises(DataInvalid, match="entities"):
            bench.fetch()


def test_edgar_an_unknown_symbol_is_named_before_its_file_is_asked_for(tmp_path):
    with serving("sec_edgar") as server:
        bench = bench_of("sec_edgar", "fundamentals", server, tmp_path)
        scope = type(bench.case.scope)(names=("AAPL", "ENRNQ"), since=date(2009, 1, 1), until=date(2024, 12, 31))
        with pytest.raises(DataInvalid, match="ENRNQ"):
            bench.vendor.fetch("fundamentals", scope, bench.client())
        assert [seen.path for seen in server.seen] == ["/files/company_tickers.json"]


def test_edgar_a_restatement_is_seen_only_after_it_was_filed(tmp_path):
    with serving("sec_edgar") as server:
        bench = bench_of("sec_edgar", "fundamentals", server, tmp_path / "vendor")
        lake = Lake(tmp_path / "lake")
        lake.versions.append(bench.table, "sec_edgar", bench.rows())

        def earnings(known_by: datetime | None) -> list[float]:
            rows = lake.versions.read(bench.table, "sec_edgar", known_by=known_by).to_pylist()
            return [row["value"] for row in rows if row["concept"] == "EarningsPerShareDiluted" and str(row["period_end"]) == "2013-09-28"]

        assert earnings(datetime(2013, 10, 30, 12, 0, tzinfo=UTC)) == []
        assert earnings(datetime(2014, 10, 27, 20, 0, tzinfo=UTC)) == [39.75]
        assert earnings(datetime(2014, 10, 28, 12, 0, tzinfo=UTC)) == [5.68]
        assert earnings(None) == [5.68]


def test_fred_a_vintage_is_seen_only_after_its_day(tmp_path):
    with serving("fred") as server:
        bench = bench_of("fred", "series", server, tmp_path / "vendor")
        lake = Lake(tmp_path / "lake")
        lake.versions.append(bench.table, "fred", bench.rows())

        def value(known_by: datetime) -> list[float]:
            rows = lake.versions.read(bench.table, "fred", known_by=known_by).to_pylist()
            return [row["value"] for row in rows if str(row["period"]) == "2020-01-01"]

        assert value(datetime(2023, 3, 30, 20, 0, tzinfo=UTC)) == []
        assert value(datetime(2023, 9, 1, tzinfo=UTC)) == [18509.143]
        assert value(datetime(2023, 10, 1, tzinfo=UTC)) == [20234.074]


def test_gdelt_an_empty_object_is_no_news(tmp_path):
    with serving("gdelt") as server:
        bench = bench_of("gdelt", "news", server, tmp_path)
        server.edit = lambda _: b"{}"
        assert bench.rows().num_rows == 0


def test_gdelt_words_instead_of_json_are_quoted(tmp_path):
    with serving("gdelt") as server:
        bench = bench_of("gdelt", "news", server, tmp_path)
        server.always = Fault(kind="status", headers={"Content-Type": "text/html"}, body=b"The specified phrase is too short.")
        with pytest.raises(DataInvalid, match="phrase is too short"):
            bench.fetch()


def test_gdelt_a_topic_without_a_question_is_named(tmp_path):
    with serving("gdelt") as server:
        bench = bench_of("gdelt", "news", server, tmp_path)
        scope = type(bench.case.scope)(names=("MSFT",), since=date(2024, 1, 1), until=date(2024, 1, 2))
        with pytest.raises(ConfigError, match="MSFT"):
            bench.vendor.fetch("news", scope, bench.client())
