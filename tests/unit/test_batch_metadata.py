"""What the UI is given can be drawn."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hedgefund_dagster.metadata import sparkline


def picture(values, title):
    text = sparkline(values, title).md_str
    assert text is not None
    return ET.fromstring(base64.b64decode(text.split("base64,")[1].removesuffix(")")))


@pytest.mark.parametrize("title", ["equal weight", "S&P 500 <price index>"])
def test_a_sparkline_is_a_well_formed_picture_whatever_the_title(title):
    values = np.linspace(1.0, 2.0, 5000)
    values[7] = np.nan
    words, line = picture(values, title)
    assert title in (words.text or "")
    assert len((line.get("points") or "").split()) == 480


def test_a_flat_line_is_drawn_and_nothing_says_so():
    assert picture(np.ones(5), "flat") is not None
    assert sparkline(np.full(3, np.nan), "none").md_str == "none: no values"
