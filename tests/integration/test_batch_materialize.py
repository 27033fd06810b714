"""Assets from the command line: what is missing is asked for, an interrupted load is taken up again, exit codes say what went wrong."""

from __future__ import annotations

import json

import pytest

from hedgefund_dagster.defs.ingest import fetching
from hedgefund_dagster.materialize import main
from hedgefund_dagster.progress import Progress
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.sources.http import pulse
from tests.contract.vendors.loopback import Fault
from tests.integration.test_batch_vendors import QuickTime
from tests.made_up_vendor import MadeUpTiingo

DAYS = ["--from", "2020-08-03", "--to", "2020-08-14"]


@pytest.fixture
def vendor(monkeypatch):
    monkeypatch.setattr(pulse, "time", QuickTime())
    monkeypatch.setenv("TIINGO_API_KEY", "canary")
    monkeypatch.setenv("HEDGEFUND_SOURCES__CACHE__SECONDS", "0")
    monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__TIINGO__NAMES", '["AAA", "BBB", "CCC", "DDD"]')
    monkeypatch.setenv("HEDGEFUND_SOURCES__FALLBACK__BARS", '["tiingo/bars"]')
    server = MadeUpTiingo()
    monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__TIINGO__BASE_URL", server.url)
    yield server
    server.stop()


def asked(vendor: MadeUpTiingo) -> list[tuple[str, str, str]]:
    found = [(seen.path.split("/")[3], seen.query["startDate"], seen.query["endDate"]) for seen in vendor.seen]
    vendor.seen.clear()
    return found


def run(capsys, *arguments: str) -> tuple[int, list[dict[str, object]], str]:
    code = main([*arguments, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out.strip() else [], said.err


def test_only_days_that_are_missing_are_asked_for(vendor, capsys, own_house):
    code, (made,), _ = run(capsys, "served/bars", *DAYS)
    assert (code, made["asset"], made["rows"], made["added"]) == (0, "served/bars", 40, 40)
    assert asked(vendor) == [(name, "2020-08-03", "2020-08-14") for name in ("AAA", "BBB", "CCC", "DDD")]
    code, (made,), said = run(capsys, "served/bars", "--from", "2020-07-30", "--to", "2020-08-18", "--names", "AAA")
    assert "12 partitions are there already" in said
    assert asked(vendor) == [("AAA", "2020-07-30", "2020-08-02"), ("AAA", "2020-08-15", "2020-08-18")]
    assert run(capsys, "served/bars", *DAYS)[:2] == (0, [])
    assert asked(vendor) == []
    assert set(Lake(own_house / "data").read_bars("served").column("source").to_pylist()) == {"tiingo"}


def test_an_interrupted_load_goes_on_where_it_stopped(vendor, capsys, monkeypatch):
    monkeypatch.setattr(fetching, "STORED_AT_ONCE", 1)
    answers = iter([b"", b""])
    vendor.edit = lambda body: body if next(answers, None) is not None else b"<html>maintenance</html>"
    code, _, said = run(capsys, "tiingo/bars", *DAYS)
    assert code in (4, 7)
    assert "mend:" in said
    vendor.edit = lambda body: body
    asked(vendor)
    code, (made,), _ = run(capsys, "tiingo/bars", *DAYS)
    assert code == 0
    assert [name for name, _, _ in asked(vendor)] == ["CCC", "DDD"], "what was stored is not asked for again"
    code, (made,), _ = run(capsys, "tiingo/bars", *DAYS, "--again")
    assert [name for name, _, _ in asked(vendor)] == ["AAA", "BBB", "CCC", "DDD"], "a load that ended leaves no note"
    assert made["rows"] == 40


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense/bars"], 2, "no asset is selected by 'nonsense/bars'"),
        (["served/bars"], 2, "name PARTITION=2026-11-20"),
        (["served/bars", "--partition", "1889-01-01"], 2, "no partition"),
        (["served/bars", "--from", "2020-08-14", "--to", "2020-08-03"], 2, "lies after"),
        (["served/bars,bundled_sp500/bars", *DAYS], 2, "years and days"),
        (["cboe_vix/bars", *DAYS], 2, "none of these assets has partitions"),
        (["served/panel", "--names", "AAA"], 2, "ask a vendor"),
        (["massive/bars", *DAYS], 3, "MASSIVE_API_KEY"),
        (["served/panel"], 7, "served"),
    ],
)
def test_what_went_wrong_is_an_exit_code_and_words(vendor, capsys, arguments, code, words):
    assert main(arguments) == code
    assert words in capsys.readouterr().err.replace("\n", " ")


def test_a_vendor_that_is_down_is_exit_code_7(vendor, capsys):
    vendor.always = Fault(kind="status", status=404, body=b"gone")
    code, _, said = run(capsys, "served/bars", *DAYS)
    assert code == 7
    assert "status 404" in said


def test_a_long_load_says_how_far_it_is_and_what_is_left():
    now, said = [0.0], []
    progress = Progress("yahoo/bars", 500, say=said.append, elapsed=lambda: now[0], already=100)
    for _ in range(40):
        now[0] += 1.0
        progress.advance(10, "names")
    assert said[0] == "yahoo/bars: resumed, 100 of 500 were stored before"
    assert said[1] == "yahoo/bars: 150 of 500 names (30%), about 35 s left"
    assert said[-1] == "yahoo/bars: 500 of 500 names (100%), 40 s in all"
    assert len(said) == 9, "a word every five seconds"
