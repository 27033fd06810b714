"""What a person sees: the asset graph, an asset with its checks and plots, the champion, and the tear sheet."""

import re

import pytest
from playwright.sync_api import expect

from hedgefund_core.quant.features import FEATURES
from hedgefund_dagster.metadata import INLINE_LIMIT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]

GROUPS = ("ingest", "validation", "features", "training", "backtest", "promotion", "post_trade")
PLOTS = {"equity", "volatility", "drawdown", "exposure", "weights", "costs", "rolling_sharpe", "monthly"}


def test_the_asset_graph_shows_every_group(watched, product):
    watched.page.goto(f"{product.dagster}/asset-groups")
    for group in GROUPS:
        expect(watched.page.get_by_text(group, exact=True).first).to_be_visible()


def test_an_asset_page_shows_a_look_ahead_check_for_each_feature_and_that_it_passed(watched, product):
    watched.page.goto(f"{product.dagster}/assets/files/features?view=checks")
    expect(watched.page.get_by_text(f"Checks ({len(FEATURES)})")).to_be_visible()
    expect(watched.page.get_by_text("Value at t unchanged by data after t.").first).to_be_visible()
    expect(watched.page.get_by_text("Passed").first).to_be_visible()
    assert watched.page.get_by_text("Failed").count() == 0


def test_the_check_of_a_table_leads_to_its_page_of_the_data_docs(watched, product):
    watched.page.goto(f"{product.dagster}/assets/files/validated_bars?view=checks&checkDetail=great_expectations")
    link = watched.page.locator("a[href*='/latest/files.validated_bars']").first
    expect(link).to_be_visible()
    watched.page.goto(link.get_attribute("href").replace("http://127.0.0.1:3001", product.docs))  # the demo ran without `make dev`
    expect(watched.page.get_by_text("files.validated_bars").first).to_be_visible()
    expect(watched.page.get_by_text("Succeeded").first).to_be_visible()


def test_a_plot_is_drawn_on_the_page_of_its_asset(watched, product):
    watched.page.goto(f"{product.dagster}/assets/files/labels")
    picture = watched.page.locator("img[src^='data:image/svg']").first
    expect(picture).to_be_visible()
    assert len(picture.get_attribute("src")) < INLINE_LIMIT
    assert picture.evaluate("image => [image.complete, image.naturalWidth]") == [True, 480]


def test_the_model_page_shows_the_champion_and_what_the_gate_said(watched, product):
    watched.page.goto(f"{product.mlflow}/#/models/hedgefund-strategy")
    expect(watched.page.get_by_text(re.compile(r"^@\s*champion$")).first).to_be_visible()
    expect(watched.page.get_by_text("gate_passed").first).to_be_visible()


@pytest.mark.parametrize("width", [1200, 500])
def test_the_tear_sheet_draws_every_plot_alone_and_fits_its_page(watched, product, width):
    watched.page.set_viewport_size({"width": width, "height": 900})
    for sheet in ("tear_sheet.html", "tear_sheet_demo-1.html"):
        watched.page.goto((product.reports / sheet).as_uri())
        for name in PLOTS:
            expect(watched.page.locator(f"#plot-{name} svg.main-svg").first).to_be_visible()
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
        assert "nan" not in watched.page.inner_text("main").lower().split()
    assert watched.errors == []
    assert watched.foreign == []
