"""The fallback order is a pure choice: the first that can, of the same kind, with the reasons of those before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.quant.bars import PriceKind
from hedgefund_dagster.sources.fallback import Candidate, choose


def candidate(source: str, trouble: str = "", kind: PriceKind | None = PriceKind.RAW) -> Candidate:
    return Candidate(source=source, price_kind=kind, trouble=trouble)


def test_the_first_that_can_serves():
    choice = choose("bars", [candidate("alpaca"), candidate("yahoo")])
    assert (choice.source, choice.passed_over) == ("alpaca", ())


def test_those_before_it_are_named_with_their_reason():
    choice = choose("bars", [candidate("alpaca", "ALPACA_API_KEY is not set"), candidate("yahoo", "breaker open"), candidate("tiingo")])
    assert choice.source == "tiingo"
    assert choice.passed_over == (("alpaca", "ALPACA_API_KEY is not set"), ("yahoo", "breaker open"))


def test_another_kind_never_stands_in():
    order = [candidate("alpaca", "down"), candidate("files", kind=PriceKind.TOTAL_RETURN), candidate("tiingo")]
    choice = choose("bars", order)
    assert choice.source == "tiingo"
    assert "kinds never mix" in dict(choice.passed_over)["files"]


def test_none_left_is_an_error_that_names_all():
    with pytest.raises(DataUnavailable, match=r"bars: .*alpaca: no key; yahoo: down") as caught:
        choose("bars", [candidate("alpaca", "no key"), candidate("yahoo", "down")])
    assert "data-doctor" in caught.value.mend
    with pytest.raises(DataUnavailable, match="order is empty"):
        choose("bars", [])


@given(st.lists(st.tuples(st.sampled_from(["", "down"]), st.sampled_from([None, *PriceKind])), min_size=1, max_size=6))
def test_the_choice_is_able_of_the_first_kind_and_nobody_before_it_is(made):
    order = [candidate(f"s{place}", trouble, kind) for place, (trouble, kind) in enumerate(made)]
    able = [c.source for c in order if not c.trouble and c.price_kind is order[0].price_kind]
    if not able:
        with pytest.raises(DataUnavailable):
            choose("bars", order)
        return
    choice = choose("bars", order)
    assert choice.source == able[0]
    assert [source for source, _ in choice.passed_over] == [f"s{place}" for place in range(int(able[0][1:]))]
