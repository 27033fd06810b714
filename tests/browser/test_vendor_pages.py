"""A person materializes a vendor's asset in the UI, from a vendor on this machine, and sees metadata, plots and checks."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from hedgefund_dagster.metadata import INLINE_LIMIT
from tests.browser.conftest import ROOT, STOP_SECONDS, free_port
from tests.made_up_vendor import MadeUpTiingo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

LOOKS, LOOK_MS = 12, 20_000


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`make dev` over an empty house whose only vendor is the one of this machine."""
    place: Path = tmp_path_factory.mktemp("asked")
    shutil.copytree(ROOT / "config", place / "config", ignore=shutil.ignore_patterns("keys"))
    server, ports = MadeUpTiingo(), (free_port(), free_port())
    env = {
        **os.environ,
        "HEDGEFUND_DATA_DIR": str(place / "data"),
        "HEDGEFUND_CONFIG_DIR": str(place / "config"),
        "HEDGEFUND_MLRUNS_DIR": str(place / "mlruns"),
        "TIINGO_API_KEY": "canary",
        "HEDGEFUND_SOURCES__VENDORS__TIINGO__BASE_URL": server.url,
        "HEDGEFUND_SOURCES__VENDORS__TIINGO__NAMES": '["AAA", "BBB", "CCC"]',
        "HEDGEFUND_SOURCES__FALLBACK__BARS": '["alpaca/bars_sip", "tiingo/bars"]',
    }
    command = [sys.executable, "-m", "hedgefund_dagster.dev", "--dagster-port", str(ports[0]), "--mlflow-port", str(ports[1])]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "Ctrl-C stops" in line:
            break
    else:
        pytest.fail(f"make dev ended with {process.wait()}")
    yield f"http://127.0.0.1:{ports[0]}"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=STOP_SECONDS) == 130
    server.stop()


def test_days_of_a_vendor_are_materialized_with_a_click_and_shown(watched, dagster):
    page = watched.page
    page.goto(f"{dagster}/assets/served/bars")
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    page.get_by_text("Show all partitions").click()
    days = page.locator("input:not([type='checkbox'])").first
    days.fill("[2020-08-03...2020-09-04]")
    days.press("Enter")
    launch = page.get_by_role("button", name=re.compile("Launch (run|backfill)")).first
    expect(launch).to_be_enabled()
    expect(page.get_by_text("Backfills all partitions in a single run.")).to_be_visible()
    launch.click()
    expect(launch).to_be_hidden()  # leaving the page before would take the request back
    for _ in range(LOOKS):  # the page of an asset does not always take up by itself that it was materialized
        page.goto(f"{dagster}/assets/served/bars")
        with contextlib.suppress(PlaywrightTimeout):
            page.get_by_text("close from").first.wait_for(timeout=LOOK_MS)
            break
    expect(page.get_by_text("close from").first).to_be_visible()
    pictures = page.locator("img[src^='data:image/svg']")
    expect(pictures.first).to_be_visible()
    for picture in pictures.all():
        assert len(picture.get_attribute("src")) < INLINE_LIMIT
        assert picture.evaluate("image => [image.complete, image.naturalWidth]") == [True, 480]
    for said in ("quality_by_year", "tiingo/bars", "alpaca/bars_sip"):
        expect(page.get_by_text(said, exact=True).first).to_be_visible()
    page.goto(f"{dagster}/assets/served/bars?view=checks&checkDetail=no_session_is_missing")
    expect(page.get_by_text("3 of 3 names have no bar").first).to_be_visible()
    for check in ("great_expectations", "one_vendor_a_symbol", "no_session_is_missing"):
        expect(page.get_by_text(check, exact=True).first).to_be_visible()
