"""Every vendor adapter against a loopback server: what its documentation promises, and every way it may break the promise."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pytest

from hedgefund_core.configuration import SourcesSettings, VendorSettings
from hedgefund_core.errors import ConfigError, DataInvalid, DataUnavailable
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.sources import VENDORS, open_vendor
from hedgefund_dagster.sources.http.access import access_of
from hedgefund_dagster.sources.http.client import HttpClient
from hedgefund_dagster.sources.http.pulse import Pulse
from hedgefund_dagster.sources.http.transport import Bounds
from tests.contract.vendors.cases import CASES as OTHER_CASES
from tests.contract.vendors.cases import SECRET, Case, Change
from tests.contract.vendors.loopback import FIXTURES, Fault, Loopback, exchanges, serving
from tests.contract.vendors.price_cases import PRICE_CASES

CASES = OTHER_CASES + PRICE_CASES
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
BODY_LIMIT = 2_000_000


@dataclass
class FakeTime:
    """Time that passes only by waiting."""

    now: datetime = NOW
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += timedelta(seconds=seconds)

    def pulse(self) -> Pulse:
        return Pulse(now=lambda: self.now, sleep=self.sleep, chance=lambda: 0.5, elapsed=time.perf_counter)


@dataclass
class Bench:
    """An adapter, its client and the server it talks to."""

    case: Case
    server: Loopback
    folder: Path
    clock: FakeTime

    @property
    def settings(self) -> VendorSettings:
        return VendorSettings(base_url=self.server.url, **self.case.settings)

    @property
    def vendor(self):
        return open_vendor(self.case.vendor, SourcesSettings(vendors={self.case.vendor: self.settings}))

    def client(self, read_seconds: float = 5.0) -> HttpClient:
        access = access_of(self.vendor.facts, self.settings, self.case.env)
        bounds = Bounds(read_seconds=read_seconds, max_body_bytes=BODY_LIMIT)
        return HttpClient(self.vendor.facts, access, self.folder, self.clock.pulse(), bounds=bounds)

    def fetch(self, **options):
        return self.vendor.fetch(self.case.dataset, self.case.scope, self.client(**options))

    def rows(self, payloads=None):
        return self.vendor.rows(self.case.dataset, self.fetch() if payloads is None else payloads, NOW)

    @property
    def table(self):
        return self.vendor.facts.dataset(self.case.dataset).table


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def bench(request, tmp_path):
    with serving(request.param.vendor) as server:
        yield Bench(case=request.param, server=server, folder=tmp_path / "vendor", clock=FakeTime())


def bench_of(vendor: str, dataset: str, server: Loopback, folder: Path) -> Bench:
    case = next(case for case in CASES if (case.vendor, case.dataset) == (vendor, dataset))
    return Bench(case=case, server=server, folder=folder, clock=FakeTime())


def changes(kind: str) -> list:
    return [
        pytest.param(case, change, id=f"{case.name}-{change.named}-{i}") for case in CASES for i, change in enumerate(getattr(case, kind))
    ]


def changed(case: Case, change: Change, tmp_path: Path) -> str:
    """The complaint about a payload in which some text is replaced."""
    with serving(case.vendor) as server:
        bench = Bench(case=case, server=server, folder=tmp_path, clock=FakeTime())
        assert any(change.old.encode() in exchange.body for exchange in server.exchanges), "the fixture has no such text"
        server.edit = lambda body: body.replace(change.old.encode(), change.new.encode())
        with pytest.raises(DataInvalid) as caught:
            bench.rows()
        assert server.url in caught.value.message, "the address is named"
        return caught.value.message


def shown(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.isoformat() if isinstance(value, date) else value


# ------------------------------------------------------------------------------------------------ the vendor keeps its promise


def test_every_registered_vendor_and_dataset_has_a_case():
    declared = {(name, dataset.name) for name in VENDORS for dataset in open_vendor(name, SourcesSettings()).facts.datasets}
    assert {(case.vendor, case.dataset) for case in CASES} == declared


def test_every_fixture_names_the_page_it_is_written_from():
    for vendor in VENDORS:
        found = exchanges(vendor)
        assert found, f"no fixtures of {vendor}"
        assert all(exchange.page.startswith("https://") for exchange in found)
    assert {folder.name for folder in FIXTURES.iterdir()} == set(VENDORS)


def test_a_vendor_declares_what_is_known_of_it(bench):
    facts = bench.vendor.facts
    assert facts.name == bench.case.vendor
    assert facts.licence
    assert facts.documentation.startswith("https://")
    assert all(url.startswith("https://") for url in facts.base_urls.values())
    assert all(quota.requests > 0 and quota.seconds > 0 for quota in facts.quotas)
    assert facts.quotas
    assert facts.biases
    dataset = facts.dataset(bench.case.dataset)
    assert set(dataset.mapping) <= set(dataset.table.column_names), "the mapping names canonical columns"


def test_rows_are_those_the_fixtures_state(bench):
    rows = bench.rows()
    assert rows.schema.equals(arrow_schema(bench.table))
    assert rows.num_rows == bench.case.rows
    found = [{name: shown(value) for name, value in row.items()} for row in rows.to_pylist()]
    for expected in bench.case.expected:
        assert any(expected.items() <= row.items() for row in found), f"no row {expected}"


def test_nothing_is_known_before_it_happened_and_all_is_recorded_now(bench):
    rows = bench.rows()
    assert pc.all(pc.greater_equal(rows.column("known_at"), rows.column("ts"))).as_py()
    assert pc.unique(rows.column("recorded_at")).to_pylist() == [NOW]


def test_a_row_can_be_walked_back_to_the_bytes_it_was_read_from(bench, tmp_path):
    lake = Lake(tmp_path / "lake")
    payloads = bench.fetch()
    records = {lake.raw.put(payload).sha256: payload for payload in payloads}
    assert set(bench.rows(payloads).column("raw_sha256").to_pylist()) <= set(records)
    for record in lake.raw.records(bench.case.vendor):
        assert (tmp_path / "lake" / record.file).read_bytes() == records[record.sha256].content
        assert record.origin.startswith(bench.server.url)


def test_rows_are_a_function_of_the_payloads(bench):
    payloads = bench.fetch()
    assert bench.rows(payloads).equals(bench.rows(payloads))


def test_the_same_rows_again_add_no_version(bench, tmp_path):
    lake = Lake(tmp_path / "lake")
    if not bench.table.identity:  # bars have a store of their own
        first = [lake.write_bars(bench.case.vendor, "all", bench.rows()) for _ in range(2)]
        assert [result.added for result in first] == [bench.case.rows, 0]
        return
    assert lake.versions.append(bench.table, bench.case.vendor, bench.rows()).added == bench.case.rows
    bench.clock.now += timedelta(days=1)
    again = bench.vendor.rows(bench.case.dataset, bench.fetch(), bench.clock.now)
    assert lake.versions.append(bench.table, bench.case.vendor, again).added == 0


def test_requests_say_who_asks_and_keep_the_quota(bench):
    bench.fetch()
    agents = {seen.headers["user-agent"] for seen in bench.server.seen}
    assert agents == {bench.settings.user_agent or "hedgefund-lite"}
    first = bench.vendor.facts.quotas[0]
    if len(bench.server.seen) > first.requests:
        assert sum(bench.clock.waits) >= first.seconds * (len(bench.server.seen) // first.requests - 1)


# ------------------------------------------------------------------------------------------------------- trouble that passes


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_status_is_tried_again(bench, status):
    bench.server.faults = [Fault(kind="status", status=status), Fault(kind="status", status=status)]
    assert bench.rows().num_rows == bench.case.rows
    assert min(wait for wait in bench.clock.waits if wait) > 0.0


def test_retry_after_in_seconds_is_honoured(bench):
    bench.server.faults = [Fault(kind="status", status=429, headers={"Retry-After": "17"})]
    assert bench.rows().num_rows == bench.case.rows
    assert max(bench.clock.waits) >= 17.0


def test_retry_after_as_a_date_is_honoured(bench):
    bench.server.faults = [Fault(kind="status", status=503, headers={"Retry-After": "Mon, 05 Jan 2026 12:00:30 GMT"})]
    assert bench.rows().num_rows == bench.case.rows
    assert sum(bench.clock.waits) >= 30.0


def test_a_vendor_that_asks_for_too_much_patience_is_left_alone(bench):
    bench.server.faults = [Fault(kind="status", status=429, headers={"Retry-After": "86400"})]
    with pytest.raises(DataUnavailable, match="86400 s"):
        bench.fetch()
    assert len(bench.server.seen) == 1
    with pytest.raises(DataUnavailable, match="quota is used up"):  # and the other processes keep quiet too
        bench.fetch()
    assert len(bench.server.seen) == 1


def test_a_silent_server_is_given_up_and_asked_again(bench):
    bench.server.faults = [Fault(kind="hang")]
    started = time.perf_counter()
    payloads = bench.fetch(read_seconds=0.3)
    assert bench.rows(payloads).num_rows == bench.case.rows
    assert time.perf_counter() - started < 5.0


def test_a_connection_reset_in_the_body_is_tried_again(bench):
    bench.server.faults = [Fault(kind="reset")]
    assert bench.rows().num_rows == bench.case.rows


def test_a_garbled_body_is_tried_again(bench):
    bench.server.faults = [Fault(kind="status", body=b"\x00\xff\xfe half a docu")]
    assert bench.rows().num_rows == bench.case.rows


# ----------------------------------------------------------------------------------------------------- trouble that stays


@pytest.mark.parametrize("fault", [Fault(kind="status", status=503), Fault(kind="reset"), Fault(kind="status", status=429)], ids=str)
def test_trouble_that_stays_names_source_and_address_and_no_secret(bench, fault):
    bench.server.always = fault
    with pytest.raises(DataUnavailable) as caught:
        bench.fetch()
    assert bench.case.vendor in caught.value.message
    assert bench.server.url in caught.value.message
    assert SECRET not in caught.value.message
    assert len(bench.server.seen) == 4, "bounded"
    assert caught.value.mend


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_definite_no_is_not_asked_twice(bench, status):
    bench.server.always = Fault(kind="status", status=status, body=f"no: {SECRET}".encode())
    with pytest.raises(DataUnavailable, match=f"status {status}") as caught:
        bench.fetch()
    assert len(bench.server.seen) == 1
    assert SECRET not in caught.value.message or not bench.case.env


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html><body>Just a moment...</body></html>", b"\n <html><title>Sorry</title></html>"])
def test_a_web_page_with_status_200_is_no_data(bench, page):
    bench.server.always = Fault(kind="status", headers={"Content-Type": "text/html"}, body=page)
    with pytest.raises(DataUnavailable, match="web page"):
        bench.fetch()


@pytest.mark.parametrize("nothing", [b"", b" \n"])
def test_an_empty_answer_is_no_data(bench, nothing):
    bench.server.always = Fault(kind="status", body=nothing)
    with pytest.raises(DataInvalid, match="nothing"):
        bench.fetch()


def test_a_document_that_ends_too_early_is_refused(bench):
    bench.server.edit = lambda body: body.rstrip()[: -len(body.rstrip().rsplit(b"\n", 1)[-1]) // 2 - 1]
    with pytest.raises(DataInvalid) as caught:
        bench.fetch()
    assert bench.server.url in caught.value.message


@pytest.mark.parametrize("kind", ["huge", "huge_declared"])
def test_a_gigabyte_is_cut_off(bench, kind):
    bench.server.always = Fault(kind=kind)
    started = time.perf_counter()
    with pytest.raises(DataInvalid, match="larger than"):
        bench.fetch()
    assert time.perf_counter() - started < 3.0


def test_another_host_is_not_followed(bench):
    with serving() as foreign:
        bench.server.always = Fault(kind="status", status=302, headers={"Location": f"{foreign.url}/steal"})
        with pytest.raises(DataUnavailable, match="another host"):
            bench.fetch()
        assert foreign.seen == []


def test_endless_redirects_on_the_host_end(bench):
    bench.server.always = Fault(kind="status", status=301, headers={"Location": "/again"})
    with pytest.raises(DataUnavailable, match="redirects"):
        bench.fetch()


def test_nothing_bad_is_remembered(bench):
    bench.server.always = Fault(
        kind="status", headers={"Content-Type": "text/html", "Cache-Control": "max-age=86400", "ETag": '"bad"'}, body=b"<html></html>"
    )
    with pytest.raises(DataUnavailable):
        bench.fetch()
    bench.server.always = None
    assert bench.rows().num_rows == bench.case.rows


@pytest.mark.parametrize(("case", "change"), changes("wrong"))
def test_what_was_not_asked_for_is_refused_by_name(case, change, tmp_path):
    assert f"`{change.named}`" in changed(case, change, tmp_path)


@pytest.mark.parametrize(("case", "change"), changes("renamed"))
def test_a_renamed_field_is_refused_by_name(case, change, tmp_path):
    assert f"`{change.named}`" in changed(case, change, tmp_path)


@pytest.mark.parametrize(("case", "change"), changes("retyped"))
def test_a_field_of_another_type_is_refused_by_name(case, change, tmp_path):
    assert change.named in changed(case, change, tmp_path)


def test_a_new_field_changes_nothing(bench):
    bench.server.edit = lambda body: body.replace(b'"popularity": 39,', b'"popularity": 39, "novel": [1, {"a": null}],').replace(
        b'"accn":', b'"novel": {"a": 1}, "accn":'
    )
    assert bench.rows().num_rows == bench.case.rows


# -------------------------------------------------------------------------------------------------------------- secrets


def test_a_secret_is_sent_and_left_nowhere(bench, caplog):
    caplog.set_level("DEBUG")
    payloads = bench.fetch()
    for rule in bench.vendor.facts.keys:
        if rule.parameter:
            assert all(seen.query.get(rule.parameter) == SECRET for seen in bench.server.seen)
        if rule.header:
            assert all(seen.headers.get(rule.header.lower()) == f"{rule.prefix}{SECRET}" for seen in bench.server.seen)
    kept = b"".join(path.read_bytes() for path in bench.folder.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept
    assert SECRET not in caplog.text
    assert SECRET not in repr([payload.origin for payload in payloads])
    assert SECRET not in repr(access_of(bench.vendor.facts, bench.settings, bench.case.env))


def test_a_missing_key_is_named_before_anything_is_asked(tmp_path):
    with serving("fred") as server:
        bench = bench_of("fred", "series", server, tmp_path)
        with pytest.raises(ConfigError, match="FRED_API_KEY"):
            access_of(bench.vendor.facts, bench.settings, {})


def test_a_missing_contact_is_named_before_anything_is_asked(tmp_path):
    with serving("sec_edgar") as server:
        bench = bench_of("sec_edgar", "instruments", server, tmp_path)
        with pytest.raises(ConfigError, match="user_agent"):
            access_of(bench.vendor.facts, VendorSettings(base_url=server.url), {})


def test_a_key_is_not_sent_over_an_open_line():
    facts = open_vendor("fred", SourcesSettings()).facts
    with pytest.raises(ConfigError, match="unencrypted"):
        access_of(facts, VendorSettings(base_url="http://example.org"), {"FRED_API_KEY": SECRET})
    with pytest.raises(ConfigError, match="no http address"):
        access_of(facts, VendorSettings(base_url="ftp://example.org"), {"FRED_API_KEY": SECRET})


def test_a_misspelt_vendor_in_the_configuration_is_an_error():
    with pytest.raises(ConfigError, match="cboe_vix"):
        open_vendor("fred", SourcesSettings(vendors={"cbeo_vix": VendorSettings()}))


# ------------------------------------------------------------------------------------------------------- pages of each vendor


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


def test_unchanged_history_is_not_sent_again(tmp_path):
    with serving("cboe_vix") as server:
        bench = bench_of("cboe_vix", "bars", server, tmp_path)
        first = bench.fetch()
        again = bench.fetch()
        assert server.seen[-1].headers["if-none-match"] == '"5f1c-62a"'
        assert [p.sha256 for p in first] == [p.sha256 for p in again]
        for path in tmp_path.rglob("*.body"):
            path.write_bytes(b"damaged")
        assert [p.sha256 for p in bench.fetch()] == [p.sha256 for p in first], "a damaged cache costs a request, no more"
