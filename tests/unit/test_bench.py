"""The benchmark runner on few made-up rows, so that it cannot rot between two runs of `make bench`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import tests.benchmark.__main__ as bench
from tests.benchmark.data import price_rows
from tests.benchmark.row import Row, alternating_seconds


@pytest.fixture(autouse=True)
def few_made_up_rows(monkeypatch, tmp_path):
    monkeypatch.setenv("HEDGEFUND_BENCH_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("HEDGEFUND_BENCH_ROWS", "9000")


def test_made_up_rows_are_the_same_every_time_and_as_many_as_asked_for():
    rows = price_rows()
    assert rows.num_rows == 9000
    assert rows.equals(price_rows())
    assert rows.column_names == ["symbol", "date", "open", "high", "low", "close", "volume"]
    assert np.all(rows.column("high").to_numpy() >= rows.column("low").to_numpy())


@pytest.mark.slow
def test_an_area_is_measured_printed_and_written(tmp_path):
    screen = Console(file=io.StringIO(), width=200)
    assert bench.main(["ingest", "--json", str(tmp_path / "bench.json")], screen) == 0
    (area,) = json.loads((tmp_path / "bench.json").read_text())["areas"]
    assert area["error"] == ""
    assert {row["name"] for row in area["rows"]} >= {"ingest + validation"}
    assert "ingest + validation" in screen.file.getvalue()


def missed(_: Path):
    yield Row(name="slow", ours=2.0, unit="s", goal="<= 1 s", met=False)


def broken(_: Path):
    yield Row(name="first", ours=1.0, unit="s", goal="<= 1 s", met=True)
    raise RuntimeError("the peer fell over")


@pytest.mark.parametrize(
    ("measure", "arguments", "code", "said"),
    [(missed, [], 0, "missed"), (missed, ["--strict"], 1, "missed"), (broken, [], 1, "the peer fell over")],
)
def test_a_missed_goal_is_said_and_fails_only_when_strict_an_error_always(monkeypatch, tmp_path, measure, arguments, code, said):
    monkeypatch.setattr("tests.benchmark.bench_ingest.measure", measure)
    screen = Console(file=io.StringIO(), width=200)
    assert bench.main(["ingest", "--json", str(tmp_path / "bench.json"), *arguments], screen) == code
    assert said in screen.file.getvalue()


def test_an_unknown_area_names_the_known(capsys):
    with pytest.raises(SystemExit, match="2"):
        bench.parsed(["nonsense"])
    assert "ingest" in capsys.readouterr().err


def test_two_works_take_turns():
    order = []
    alternating_seconds(lambda: order.append("ours"), lambda: order.append("theirs"), repeats=2)
    assert order == ["ours", "theirs"] * 2
