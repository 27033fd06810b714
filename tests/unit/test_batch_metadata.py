"""What the UI is given can be drawn."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import numpy as np
import pytest

from hedgefund_dagster.metadata import INLINE_LIMIT, sparkline


def picture(values, title):
    text = sparkline(values, title).md_str
    assert text is not None
    assert len(text) < INLINE_LIMIT
    address = text.removeprefix("![plot](").removesuffix(")")
    assert not set(address) & set("()<> ")
    return ET.fromstring(unquote(address.split(",", 1)[1]))


def heights(line):
    """The points of the path, absolute."""
    start, moves = (line.get("d") or "").removeprefix("M0,").split("l")
    steps = [int(number) for number in re.findall(r"-?\d+", moves)]
    return np.cumsum([int(start), *steps[1::2]])


@pytest.mark.parametrize("title", ["equal weight", "S&P 500 <price index>"])
def test_a_sparkline_is_a_well_formed_picture_whatever_the_title(title):
    values = np.linspace(1.0, 2.0, 5000)
    values[7] = np.nan
    words, line = picture(values, title)
    assert title in (words.text or "")
    drawn = heights(line)
    assert len(drawn) == 120
    assert (drawn[0], drawn[-1]) == (90, 20)  # from the foot of the picture to its head


def test_a_wild_series_is_still_short_enough_to_be_drawn_on_the_page():
    values = np.random.default_rng(7).standard_normal(9000) * 1e6
    _, line = picture(values, "a title as long as anybody would write & then some more words <that> nobody reads")
    assert np.ptp(heights(line)) > 30


def test_a_flat_line_is_drawn_and_nothing_says_so():
    assert picture(np.ones(5), "flat") is not None
    assert sparkline(np.full(3, np.nan), "none").md_str == "none: no values"
