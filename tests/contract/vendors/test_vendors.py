"""Every vendor adapter against a loopback server: what its documentation promises, and every way it may break the promise."""

from __future__ import annotations

import time
from datetime import timedelta

import pyarrow.compute as pc
import pytest

from hedgefund_core.configuration import SourcesSettings, VendorSettings
from hedgefund_core.errors import ConfigError, DataInvalid, DataUnavailable
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.sources import VENDORS, open_vendor
from hedgefund_dagster.sources.http.access import access_of
from tests.contract.vendors.bench import CASES, NOW, bench_of, changed, changes, shown
from tests.contract.vendors.cases import SECRET
from tests.contract.vendors.loopback import FIXTURES, Fault, exchanges, serving

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
def test_a_passing_status_is_tried_again(troubled, status):
    troubled.server.faults = [Fault(kind="status", status=status), Fault(kind="status", status=status)]
    assert troubled.rows().num_rows == troubled.case.rows
    assert min(wait for wait in troubled.clock.waits if wait) > 0.0


def test_retry_after_in_seconds_is_honoured(troubled):
    troubled.server.faults = [Fault(kind="status", status=429, headers={"Retry-After": "17"})]
    assert troubled.rows().num_rows == troubled.case.rows
    assert max(troubled.clock.waits) >= 17.0


def test_retry_after_as_a_date_is_honoured(troubled):
    troubled.server.faults = [Fault(kind="status", status=503, headers={"Retry-After": "Mon, 05 Jan 2026 12:00:30 GMT"})]
    assert troubled.rows().num_rows == troubled.case.rows
    assert sum(troubled.clock.waits) >= 30.0


def test_a_vendor_that_asks_for_too_much_patience_is_left_alone(troubled):
    troubled.server.faults = [Fault(kind="status", status=429, headers={"Retry-After": "86400"})]
    with pytest.raises(DataUnavailable, match="86400 s"):
        troubled.fetch()
    assert len(troubled.server.seen) == 1
    with pytest.raises(DataUnavailable, match="quota is used up"):  # and the other processes keep quiet too
        troubled.fetch()
    assert len(troubled.server.seen) == 1


def test_a_silent_server_is_given_up_and_asked_again(troubled):
    troubled.server.faults = [Fault(kind="hang")]
    started = time.perf_counter()
    payloads = troubled.fetch(read_seconds=0.3)
    assert troubled.rows(payloads).num_rows == troubled.case.rows
    assert time.perf_counter() - started < 5.0


def test_a_connection_reset_in_the_body_is_tried_again(troubled):
    troubled.server.faults = [Fault(kind="reset")]
    assert troubled.rows().num_rows == troubled.case.rows


def test_a_garbled_body_is_tried_again(troubled):
    troubled.server.faults = [Fault(kind="status", body=b"\x00\xff\xfe half a docu")]
    assert troubled.rows().num_rows == troubled.case.rows


# ----------------------------------------------------------------------------------------------------- trouble that stays


@pytest.mark.parametrize("fault", [Fault(kind="status", status=503), Fault(kind="reset"), Fault(kind="status", status=429)], ids=str)
def test_trouble_that_stays_names_source_and_address_and_no_secret(troubled, fault):
    troubled.server.always = fault
    with pytest.raises(DataUnavailable) as caught:
        troubled.fetch()
    assert troubled.case.vendor in caught.value.message
    assert troubled.server.url in caught.value.message
    assert SECRET not in caught.value.message
    assert len(troubled.server.seen) == 4, "bounded"
    assert caught.value.mend


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_definite_no_is_not_asked_twice(troubled, status):
    troubled.server.always = Fault(kind="status", status=status, body=f"no: {SECRET}".encode())
    with pytest.raises(DataUnavailable, match=f"status {status}") as caught:
        troubled.fetch()
    assert len(troubled.server.seen) == 1
    assert SECRET not in caught.value.message or not troubled.case.env


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html><body>Just a moment...</body></html>", b"\n <html><title>Sorry</title></html>"])
def test_a_web_page_with_status_200_is_no_data(troubled, page):
    troubled.server.always = Fault(kind="status", headers={"Content-Type": "text/html"}, body=page)
    with pytest.raises(DataUnavailable, match="web page"):
        troubled.fetch()


@pytest.mark.parametrize("nothing", [b"", b" \n"])
def test_an_empty_answer_is_no_data(troubled, nothing):
    troubled.server.always = Fault(kind="status", body=nothing)
    with pytest.raises(DataInvalid, match="nothing"):
        troubled.fetch()


def test_a_document_that_ends_too_early_is_refused(troubled):
    troubled.server.edit = lambda body: body.rstrip()[: -len(body.rstrip().rsplit(b"\n", 1)[-1]) // 2 - 1]
    with pytest.raises(DataInvalid) as caught:
        troubled.fetch()
    assert troubled.server.url in caught.value.message


@pytest.mark.parametrize("kind", ["huge", "huge_declared"])
def test_a_gigabyte_is_cut_off(troubled, kind):
    troubled.server.always = Fault(kind=kind)
    started = time.perf_counter()
    with pytest.raises(DataInvalid, match="larger than"):
        troubled.fetch()
    assert time.perf_counter() - started < 3.0


def test_another_host_is_not_followed(troubled):
    with serving() as foreign:
        troubled.server.always = Fault(kind="status", status=302, headers={"Location": f"{foreign.url}/steal"})
        with pytest.raises(DataUnavailable, match="another host"):
            troubled.fetch()
        assert foreign.seen == []


def test_endless_redirects_on_the_host_end(troubled):
    troubled.server.always = Fault(kind="status", status=301, headers={"Location": "/again"})
    with pytest.raises(DataUnavailable, match="redirects"):
        troubled.fetch()


def test_nothing_bad_is_remembered(troubled):
    troubled.server.always = Fault(
        kind="status", headers={"Content-Type": "text/html", "Cache-Control": "max-age=86400", "ETag": '"bad"'}, body=b"<html></html>"
    )
    with pytest.raises(DataUnavailable):
        troubled.fetch()
    troubled.server.always = None
    assert troubled.rows().num_rows == troubled.case.rows


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
