"""The how-to of sources, taken at its word: its two files and two lines are put through the suite that every vendor passes."""

from __future__ import annotations

import inspect
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
import yaml

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_dagster.defs.ingest.vendors import vendor_assets
from hedgefund_dagster.sources import VENDORS
from hedgefund_dagster.sources.http.declaration import Scope
from tests.contract.vendors import bench as benches
from tests.contract.vendors import loopback, test_vendors
from tests.contract.vendors.bench import Bench, FakeTime, changed
from tests.contract.vendors.cases import SECRET, Case, Change
from tests.contract.vendors.loopback import Fault, serving

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "add-a-source.md").read_text(encoding="utf-8")

CASE = Case(
    vendor="stooq",
    dataset="bars",
    scope=Scope(names=("AAPL",), since=date(2020, 8, 1), until=date(2020, 11, 30)),
    env={"STOOQ_API_KEY": SECRET},
    rows=3,
    expected=(
        {"symbol": "AAPL", "session": "2020-08-28", "open": 126.01, "ts": "2020-08-28T20:00:00Z", "source": "stooq"},
        {"session": "2020-11-27", "ts": "2020-11-27T18:00:00Z", "volume": None, "known_at_basis": "assumed"},
    ),
    wrong=(Change(old="2020-08-28", new="2019-08-28", named="Date"),),
    renamed=(Change(old="Close", new="Last", named="Close"), Change(old="Date,", new="Day,", named="Date")),
    retyped=(
        Change(old="124.81", new="n/a", named="Close"),
        Change(old="131,", new="inf,", named="High"),
        Change(old="2020-08-28", new="28 Aug", named="Date"),
    ),
)


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return found


@pytest.fixture(autouse=True)
def _added(tmp_path, monkeypatch) -> Iterator[None]:
    """The adapter as a file, its line in the registry, the fixture in its folder, the case in the list."""
    adapter = tmp_path / "stooq.py"
    adapter.write_text(block("python"), encoding="utf-8")
    fixtures = tmp_path / "fixtures"
    (fixtures / "stooq").mkdir(parents=True)
    (fixtures / "stooq" / "aapl.yaml").write_text(block("yaml"), encoding="utf-8")
    monkeypatch.setattr(loopback, "FIXTURES", fixtures)
    monkeypatch.setattr(benches, "CASES", (*benches.CASES, CASE))
    loopback.exchanges.cache_clear()
    vendor = runpy.run_path(str(adapter))["Stooq"]
    monkeypatch.setitem(VENDORS, "stooq", vendor)
    yield
    loopback.exchanges.cache_clear()


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    with serving("stooq") as server:
        yield Bench(case=CASE, server=server, folder=tmp_path / "vendor", clock=FakeTime())


def checks() -> list:
    """Each check of the suite that looks at one vendor's bench, with each of its parameters."""
    found = []
    for name, check in inspect.getmembers(test_vendors, inspect.isfunction):
        wanted = [*inspect.signature(check).parameters]
        if not name.startswith("test_") or not {"bench", "troubled"} & set(wanted):
            continue
        marks = [mark for mark in getattr(check, "pytestmark", []) if mark.name == "parametrize"]
        values = [({mark.args[0]: value}) for mark in marks for value in mark.args[1]] or [{}]
        found += [pytest.param(check, value, id=f"{name}-{i}") for i, value in enumerate(values)]
    return found


@pytest.mark.parametrize(("check", "value"), checks())
def test_the_vendor_of_the_how_to_passes_the_suite(check: Callable[..., None], value: dict[str, object], bench, tmp_path, caplog):
    fixtures = {"bench": bench, "troubled": bench, "tmp_path": tmp_path, "caplog": caplog}
    check(**{name: fixtures[name] for name in inspect.signature(check).parameters if name in fixtures}, **value)


@pytest.mark.parametrize(
    "change", [*CASE.wrong, *CASE.renamed, *CASE.retyped], ids=lambda change: f"{change.named}-{change.new}".replace(" ", "_")
)
def test_what_is_wrong_is_refused_by_name(change, tmp_path):
    assert f"`{change.named}`" in changed(CASE, change, tmp_path)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<!DOCTYPE html><html><head><script>/* proof of work */</script></head></html>", DataUnavailable),
        (b"<html><body><noscript>This site requires JavaScript to verify your browser</noscript></body></html>", DataUnavailable),
        (b"Exceeded the daily hits limit", DataUnavailable),
        (b"No data", DataUnavailable),
        (b"Get your apikey:\n\n1. Open https://stooq.com/q/d/?s=aapl.us&get_apikey\n", DataUnavailable),
        (b"{}", DataInvalid),
    ],
)
def test_a_proof_of_work_and_refusals_with_status_200_are_no_data(bench, body, error):
    bench.server.always = Fault(kind="status", headers={"Content-Type": "text/csv", "Cache-Control": "max-age=86400"}, body=body)
    with pytest.raises(error) as caught:
        bench.fetch()
    assert bench.server.url in caught.value.message
    bench.server.always = None
    assert bench.rows().num_rows == CASE.rows, "nothing of it was kept"


def test_its_asset_appears_and_its_fixture_names_the_page_it_is_written_from():
    facts = VENDORS["stooq"](None).facts
    (asset,) = vendor_assets(facts)
    assert asset.key.path == ["stooq", "bars"]
    assert yaml.safe_load(block("yaml"))["page"].startswith("https://")


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_the_adapter_is_as_clean_as_the_others(command):
    """What one copies from the page passes `make lint`."""
    place = ["--stdin-filename", str(ROOT / "hedgefund_dagster" / "sources" / "stooq.py"), "-"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command.split(), *place],
        input=block("python"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
