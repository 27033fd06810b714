"""A column of floats becomes the Decimals that each of them would become alone."""

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec
import numpy as np

from hedgefund_core.border import Marks, floats_of, in_millionths, priced
from hedgefund_core.trading.instrument import SIX_PLACES, ZERO, Instrument, Instruments, to_price


def exact(value: float) -> Decimal:
    return Decimal(value + 0.0).quantize(SIX_PLACES, rounding=ROUND_HALF_EVEN)


def test_a_column_is_rounded_as_each_value_alone_to_the_digit() -> None:
    rng = np.random.default_rng(3)
    ties = np.array([k / 2**n for n in range(1, 30) for k in (1, 3, 7, 1001, 123457)])
    odd = np.array([0.0, -0.0, 1e-9, -1e-9, 5e-7, -5e-7, 1.5, 0.1, 1e8, 999_999_999.9999995, 1e12])
    for values in (ties, odd, rng.uniform(0.01, 5000.0, 5000), np.round(rng.uniform(-1.0, 1.0, 5000), 6), np.zeros(0)):
        wanted = [exact(value) for value in values.tolist()]
        prices, views = priced(values)
        assert [value.as_tuple() for value in prices] == [value.as_tuple() for value in wanted]
        assert views.tolist() == [float(value) for value in wanted]
        assert [to_price(value).as_tuple() for value in values.tolist()] == [value.as_tuple() for value in wanted]


def test_a_column_of_decimals_is_the_float_of_each() -> None:
    counts = np.random.default_rng(5).integers(-(10**15), 10**15, (2, 2000)).tolist()
    values = [Decimal(one) * SIX_PLACES * (other if n % 2 else 1) for n, (one, other) in enumerate(zip(*counts, strict=True))]
    values += [Decimal("1E+3"), Decimal("0E-6"), Decimal("-1e-30"), Decimal(10) ** 25 / 7]
    assert floats_of(values).tolist() == [float(value) for value in values]
    np.testing.assert_array_equal(floats_of([Decimal(1), None]), [1.0, np.nan])


def test_marks_are_what_was_seen_and_what_stood_where_nothing_was() -> None:
    values = np.array([np.nan, 1.0, np.nan, 2.25, 3.3])
    marks = Marks.seen(values, {0: None, 2: Decimal("7.1")})
    assert marks == (None, Decimal(1), Decimal("7.1"), Decimal("2.25"), Decimal("3.3"))
    assert [str(mark) for mark in marks] == ["None", "1.000000", "7.1", "2.250000", "3.300000"]
    np.testing.assert_array_equal(marks.views, [np.nan, 1.0, 7.1, 2.25, 3.3])
    np.testing.assert_array_equal(Marks.of(tuple(marks)).views, marks.views)
    assert Marks.of(marks) is marks


def test_what_shares_are_worth_is_exact_in_millionths_or_not_said() -> None:
    rng = np.random.default_rng(7)
    prices, shares = np.round(rng.uniform(0.01, 5000.0, 500), 2), np.rint(rng.uniform(-1e4, 1e4, 500))
    prices[3], shares[3:5] = np.nan, 0.0
    marks = Marks.seen(prices, {3: None})
    values = [ZERO if mark is None else Decimal(count) * mark for count, mark in zip(shares.tolist(), marks, strict=True)]
    found = in_millionths(shares, marks)
    assert found is not None
    assert (found / 1e6).tolist() == [float(value) for value in values]
    assert SIX_PLACES * int(found.sum()) == sum(values)
    for place, count in ((0, 0.5), (3, 1.0), (0, 1e12)):  # a fraction, no price, more than float64 holds
        assert in_millionths(np.where(np.arange(500) == place, count, shares), marks) is None
    assert in_millionths(shares, Marks.seen(prices, {3: Decimal("1.00000001")})) is None
    assert in_millionths(shares, Marks.of(tuple(marks))) is None


def test_what_is_read_of_instruments_is_kept_with_them() -> None:
    plain = (Instrument(instrument_id="2", symbol="B"), Instrument(instrument_id="1", symbol="A", lot=Decimal("0.001")))
    kept = Instruments.of(plain)
    assert kept == plain
    assert Instruments.of(kept) is kept
    assert (kept.ids, kept.symbols, kept.places) == (("2", "1"), ("B", "A"), {"2": 0, "1": 1})
    assert bytes(kept.encoded) == msgspec.json.encode(plain) == msgspec.json.encode(kept)
