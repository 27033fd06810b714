"""Files of targets: every documented form is read, and what is wrong is said with file, key and value."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from hedgefund_core.errors import DataInvalid
from live_executor.targets import TargetsFile, read_targets

D = Decimal


@pytest.mark.parametrize(
    ("text", "weights", "quantities"),
    [
        ('{"AAPL": 0.1, "MSFT": -0.05}', {"AAPL": D("0.1"), "MSFT": D("-0.05")}, {}),
        ('{"weights": {"AAPL": 0.1}}', {"AAPL": D("0.1")}, {}),
        ('{"quantities": {"AAPL": 100, "MSFT": -5}}', {}, {"AAPL": D(100), "MSFT": D(-5)}),
        ('{"weights": {"AAPL": "0.1"}, "quantities": {"MSFT": 3}}', {"AAPL": D("0.1")}, {"MSFT": D(3)}),
        ('[{"symbol": "AAPL", "weight": 0.25}, {"symbol": "BRK.B", "quantity": 7}]', {"AAPL": D("0.25")}, {"BRK.B": D(7)}),
        ("symbol,weight\nAAPL,0.1\nMSFT, 0.2\n", {"AAPL": D("0.1"), "MSFT": D("0.2")}, {}),
        ("\ufeffSymbol,Quantity\r\nAAPL,10\r\n", {}, {"AAPL": D(10)}),
        ("symbol,weight,quantity\nAAPL,0.1,\nMSFT,,12\n", {"AAPL": D("0.1")}, {"MSFT": D(12)}),
        ("{}", {}, {}),
        ('{"targets": {"aapl": 0.1}}', {"AAPL": D("0.1")}, {}),
        ('{"targets": [{"symbol": "AAPL", "target_weight": 0.1, "name": "Apple"}]}', {"AAPL": D("0.1")}, {}),
        ('{"target_weights": {"AAPL": 0.1}, "shares": {"MSFT": 3}}', {"AAPL": D("0.1")}, {"MSFT": D(3)}),
        ('{"AAPL": {"weight": 0.1}, "MSFT": {"qty": -3}}', {"AAPL": D("0.1")}, {"MSFT": D(-3)}),
        ('{"qty": {"AAPL": 3}, "as_of": "2026-11-23", "version": 3}', {}, {"AAPL": D(3)}),
        ('{"date": "2026-11-23", "targets": [{"symbol": "AAPL", "shares": 3}]}', {}, {"AAPL": D(3)}),
        ("symbol,qty,note\nAAPL,10,as ever\n", {}, {"AAPL": D(10)}),
        ("symbol,target_weight\nAAPL,0.1\n", {"AAPL": D("0.1")}, {}),
    ],
)
def test_every_documented_form_is_read(text: str, weights: dict[str, Decimal], quantities: dict[str, Decimal]) -> None:
    found = read_targets(text.encode(), "t.json")
    assert (found.weights, found.quantities) == (weights, quantities)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ('{"AAPL": "much"}', "'much'"),
        ('{"AAPL": null}', "None"),
        ('{"AAPL": true}', "True"),
        ('{"AAPL": NaN}', "AAPL"),
        ('{"AAPL": 1e999}', "AAPL"),
        ('{"AAPL": 0.1, "AAPL": 0.2}', "twice"),
        ('{"aapl": 0.1, "AAPL": 0.2}', "twice"),
        ('{"AA PL": 0.1}', "AA PL"),
        ('[{"symbol": "AAPL", "weight": 0.1, "side": "sell"}]', "side"),
        ('[{"symbol": "AAPL", "weight": 0.1, "qty": 2}]', "entry 0"),
        ('{"AAPL": 0.1', "not JSON"),
        ('{"weights": [1]}', "weights"),
        ('{"weights": {"AAPL": 0.1}, "quantity": 3}', "quantity"),
        ('{"weights": {"AAPL": 0.1}, "wieghts": {"KO": 0.1}}', "wieghts beside weights"),
        ('{"targets": {"AAPL": 0.1}, "TSLA": 0.1}', "TSLA beside targets"),
        ('{"weights": {"AAPL": 0.1}, "quantities": {"AAPL": 1}}', "twice"),
        ('[{"symbol": "AAPL"}]', "entry 0"),
        ('[{"symbol": "AAPL", "weight": 0.1, "wieght": 0.2}]', "wieght"),
        ("symbol,wieght\nAAPL,0.1\n", "wieght"),
        ("symbol,weight\nAAPL\n", "line 2"),
        ("symbol,weight\nAAPL,0.1,0.2\n", "line 2"),
        ("symbol,weight\nAAPL,ten\n", "'ten'"),
    ],
)
def test_what_is_wrong_is_said_with_file_key_and_value(text: str, said: str) -> None:
    with pytest.raises(DataInvalid) as caught:
        read_targets(text.encode(), "targets.json")
    assert "targets.json" in caught.value.message
    assert said in caught.value.message
    assert caught.value.mend


def test_binary_rubbish_is_no_text() -> None:
    with pytest.raises(DataInvalid, match="not text"):
        read_targets(b"\xff\xfe\x00\x01", "t")


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"AAPL": 0.1}')
    file = TargetsFile(path)
    assert file.changed().weights == {"AAPL": D("0.1")}
    assert file.changed() is None
    fresh = tmp_path / "fresh"
    fresh.write_text('{"AAPL": 0.2}')
    fresh.replace(path)
    assert file.changed().weights == {"AAPL": D("0.2")}
    file.look_again()
    assert file.changed().weights == {"AAPL": D("0.2")}


def test_a_table_that_is_still_written_is_not_taken_by_half(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("symbol,quantity\nAAPL,5")
    file = TargetsFile(path)
    assert [file.changed(patient=True) for _ in range(3)] == [None] * 3
    path.write_text("symbol,quantity\nAAPL,52\n")
    found = file.changed(patient=True)
    assert found is not None
    assert found.quantities == {"AAPL": D(52)}
    path.write_text("symbol,quantity\nAAPL,53")
    seen = [file.changed(patient=True) for _ in range(6)]
    assert [found.quantities for found in seen if found is not None] == [{"AAPL": D(53)}], "whole, only without a last line's end"


def test_a_file_that_goes_away_is_said_once_and_read_when_it_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    file = TargetsFile(path)
    with pytest.raises(DataInvalid, match=r"t\.json"):
        file.changed()
    assert file.changed() is None
    path.write_text('{"quantities": {"AAPL": 1}}')
    assert file.changed().quantities == {"AAPL": D(1)}


def test_the_line_ends_of_every_system_are_read() -> None:
    for end in ("\n", "\r\n", "\r"):
        assert read_targets(f"symbol,weight{end}AAPL,0.1{end}".encode(), "t.csv").weights == {"AAPL": D("0.1")}


@pytest.mark.parametrize("content", [b"symbol,weight\nAA\0PL,0.1\n", b'symbol,weight\n"' + b"A" * 200_000, b"[" * 200_000])
def test_whatever_the_bytes_are_the_run_goes_on(content: bytes) -> None:
    with pytest.raises(DataInvalid, match=r"t\.csv"):
        read_targets(content, "t.csv")
