"""The tear sheet is one file that needs no network and says everything in order."""

import re

import numpy as np
import pytest

from hedgefund_core.backtest import run_target_weights
from hedgefund_core.backtest.baselines import all_baselines
from hedgefund_core.backtest.conclusions import Section
from hedgefund_core.backtest.report import promised_against_kept
from hedgefund_core.backtest.stress import StressLoss
from hedgefund_core.backtest.targets import mission_probabilities
from hedgefund_dagster.tear_sheet import Verdicts, tear_sheet_data, write_tear_sheet
from tests.builders import close_only, mandate, momentum_weights, noisy_panel

START = 280
TITLES = ("What you may conclude", "Risk promised against kept", "Costs", "Return, with its interval", "Bias and its direction")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    panel, book = close_only(noisy_panel(seed=4, n_sessions=420, n_symbols=6)), mandate()
    targets = momentum_weights(panel, book)
    targets[:START] = np.nan
    result = run_target_weights(panel, targets, costs=book.costs, limits=book, fill="auto", initial_cash=1e6).since(START)
    verdicts = Verdicts(
        sections=tuple(Section(title=title, lines=(f"line of {title} <b>&",)) for title in TITLES),
        promises=promised_against_kept(result, book),
        chances=mission_probabilities(result.returns, draws=50),
        stresses=(StressLoss(name="gap", loss=0.2, limit=0.1, detail="overnight"),),
        facts={"Source": "noise"},
    )
    baselines = all_baselines(panel, mandate=book, costs=book.costs, fill="auto", initial_cash=1e6, start=START)
    data = tear_sheet_data(result, book, verdicts, title="Book <1>", subtitle="a test", baselines=baselines)
    path = tmp_path_factory.mktemp("reports") / "new" / "tear_sheet.html"
    write_tear_sheet(path, data)
    assert [file.name for file in path.parent.iterdir()] == ["tear_sheet.html"]
    return path.read_text(encoding="utf-8")


def test_sections_stand_in_the_fixed_order(page):
    places = [page.index(f"</span>{title}</h2>") for title in TITLES]
    assert places == sorted(places)


def test_every_plot_is_there_and_nothing_is_loaded_from_elsewhere(page):
    plots = set(re.findall(r'id="plot-(\w+)"', page))
    assert plots == {"equity", "volatility", "drawdown", "exposure", "weights", "costs", "rolling_sharpe", "monthly"}
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    assert page.count("plotly.js v") >= 1


def test_text_is_escaped_and_verdicts_are_words_beside_colours(page):
    assert "<title>Book &lt;1&gt;</title>" in page
    assert "line of Costs &lt;b&gt;&amp;" in page
    assert "✕ beyond" in page
    assert "✓ kept" in page
