"""The data doctor says how each vendor stands, asks nobody unbidden, and never shows a key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hedgefund_core import layout
from hedgefund_dagster import data_doctor
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.settings import Settings
from hedgefund_dagster.sources import VENDORS
from hedgefund_dagster.sources.http.pulse import Pulse
from tests.contract.vendors.bench import bench_of
from tests.contract.vendors.loopback import Fault, serving

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
PULSE = Pulse(now=lambda: NOW, sleep=lambda _: None, chance=lambda: 0.5, elapsed=lambda: 0.0)
CONFIG = Path(__file__).parents[2] / "config"


def settings(tmp_path: Path, **env: str) -> Settings:
    return Settings(folder=CONFIG, env={"HEDGEFUND_DATA_DIR": str(tmp_path), **env})


def test_keys_are_present_missing_or_not_needed_and_nobody_is_asked(tmp_path):
    opened = settings(tmp_path, TIINGO_API_KEY="canary")
    found = {name: data_doctor.health_of(name, opened, PULSE, probe=False) for name in VENDORS}
    assert found["tiingo"].key == "present"
    assert found["alpaca"].key == "missing: ALPACA_API_KEY, ALPACA_SECRET_KEY"
    assert found["yahoo"].key == "not needed"
    assert "ALPACA_API_KEY" in found["alpaca"].trouble
    assert {health.reachable for health in found.values()} == {"not asked"}
    assert {(health.breaker, health.last_success, health.lag_days) for health in found.values()} == {("closed", None, None)}
    assert "canary" not in data_doctor.table(list(found.values()))
    assert not list(tmp_path.rglob("*")), "looking leaves nothing behind"


def test_after_a_fetch_quota_success_and_lag_are_shown(tmp_path):
    with serving("tiingo") as server:
        bench = bench_of("tiingo", "bars", server, tmp_path / layout.vendor_folder("tiingo"))
        Lake(tmp_path).write_bars("tiingo", "2020", bench.rows())
    found = data_doctor.health_of("tiingo", settings(tmp_path), PULSE, probe=False)
    assert found.quota_left == {"50 in 3600 s": 49, "1000 in 86400 s": 999}
    assert found.last_success == "2026-01-05T12:00:00Z"
    assert found.lag_days == round((NOW - datetime(2020, 11, 27, 18, 0, tzinfo=UTC)) / timedelta(days=1), 2)


def test_what_the_cache_was_worth_is_shown(tmp_path):
    with serving("cboe_vix") as server:
        env = {"HEDGEFUND_SOURCES__VENDORS__CBOE_VIX__BASE_URL": server.url}
        opened = settings(tmp_path, **env)
        vendor = opened.vendor("cboe_vix")
        scope = bench_of("cboe_vix", "bars", server, tmp_path).case.scope
        for _ in range(3):
            client = opened.vendor_client(vendor.facts, PULSE)
            vendor.fetch("bars", scope, client)
            client.status()
    found = data_doctor.health_of("cboe_vix", opened, PULSE, probe=False)
    assert found.cache.startswith("memory 4 of 6, ")
    assert "disk 0 of 2" in found.cache
    assert found.cache in data_doctor.table([found])


def test_a_broken_vendor_shows_its_breaker_and_why(tmp_path):
    with serving("tiingo") as server:
        bench = bench_of("tiingo", "bars", server, tmp_path / layout.vendor_folder("tiingo"))
        server.always = Fault(kind="status", status=503)
        for _ in range(2):
            with pytest.raises(Exception, match="503"):
                bench.fetch()
    pulse = Pulse(now=lambda: bench.clock.now, sleep=PULSE.sleep, chance=PULSE.chance, elapsed=PULSE.elapsed)
    found = data_doctor.health_of("tiingo", settings(tmp_path, TIINGO_API_KEY="x"), pulse, probe=False)
    assert found.breaker == "open"
    assert "503" in found.trouble


def test_a_probe_says_whether_the_host_answers_and_sends_no_key(tmp_path):
    with serving("tiingo") as server:
        env = {"TIINGO_API_KEY": "canary", "HEDGEFUND_SOURCES__VENDORS__TIINGO__BASE_URL": server.url}
        opened = settings(tmp_path, **env)
        assert data_doctor.health_of("tiingo", opened, PULSE, probe=True).reachable == "yes (status 404)"
        server.always = Fault(kind="status", status=503)
        assert data_doctor.health_of("tiingo", opened, PULSE, probe=True).reachable == "no: status 503"
        assert all("authorization" not in seen.headers for seen in server.seen)
    assert data_doctor.health_of("tiingo", opened, PULSE, probe=True).reachable.startswith("no: ")


def test_the_command_prints_a_line_or_an_object_for_each_vendor(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HEDGEFUND_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HEDGEFUND_CONFIG_DIR", str(CONFIG))
    assert data_doctor.main([]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["source", *VENDORS]
    assert data_doctor.main(["--json"]) == 0
    assert [row["source"] for row in json.loads(capsys.readouterr().out)] == list(VENDORS)
    monkeypatch.setenv("HEDGEFUND_CONFIG_DIR", str(tmp_path / "none"))
    assert data_doctor.main([]) == 3
    assert "does not exist" in capsys.readouterr().err
