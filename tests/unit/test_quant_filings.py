"""Unit errors in filings: planted ones are found, growth and losses are spared; the S&P 500 statements hold what a person sees too."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from hedgefund_core.quant.defects.filings import Facts, find_fact_defects
from tests.defect_builders import shared

NAMES = {"Assets": 9.0, "Revenues": 8.5, "NetIncomeLoss": 7.5, "StockholdersEquity": 8.7}


def statements(filers=20, periods=12, seed=1):
    """Quarterly facts of filers that grow, with net incomes that may be losses."""
    rng = np.random.default_rng(seed)
    rows = []
    for filer in range(filers):
        size = rng.uniform(-1.0, 1.5)
        for period in range(periods):
            end = np.datetime64("2015-03-31") + 91 * period
            for name, level in NAMES.items():
                value = 10.0 ** (size + level + 0.01 * period + 0.03 * rng.standard_normal())
                value *= rng.choice([1.0, -0.02, 0.05], p=[0.9, 0.05, 0.05]) if name == "NetIncomeLoss" else 1.0
                rows.append([f"F{filer}", name, "USD", f"F{filer}-{period}", 0 if name == "Assets" else 91, end, end + 40, np.round(value)])
            rows.append(
                [f"F{filer}", "SharesOutstanding", "shares", f"F{filer}-{period}", 0, end, end + 40, np.round(10.0 ** (size + 6.5))]
            )
    return rows


def facts_of(rows):
    entity, concept, unit, filing, days, end, known, value = (list(column) for column in zip(*rows, strict=True))
    return Facts(
        entity=np.array(entity),
        concept=np.array(concept),
        unit=np.array(unit),
        filing=np.array(filing),
        days=np.array(days, dtype=np.int64),
        period_end=np.array(end, dtype="datetime64[D]"),
        known_at=np.array(known, dtype="datetime64[us]"),
        value=np.array(value, dtype=float),
    )


def found_in(rows):
    return {(item.row, item.rule, str(item.severity)) for item in find_fact_defects(facts_of(rows))}


def test_growth_losses_and_poor_quarters_are_spared():
    assert found_in(statements()) == set()
    assert find_fact_defects(facts_of(statements()[:0] or [["F", "Assets", "USD", "f", 0, "2015-03-31", "2015-05-01", 1.0]])) == []


@pytest.mark.parametrize("factor", [1000.0, 1e6, 0.001, 1e-6])
def test_thousands_and_millions_for_units_are_held(factor):
    rows, planted = statements(), set()
    for number, place in enumerate(range(33, len(rows), 131)):
        if rows[place][1] != "NetIncomeLoss":
            rows[place][-1] *= factor
            planted.add((place, "wrong_scale", "error"))
        assert number < 10
    assert found_in(rows) == planted
    assert len(planted) >= 6


def test_a_lost_sign_another_unit_and_shares_for_dollars_are_noted():
    rows = statements()
    first = next(place for place, row in enumerate(rows) if row[1] == "Revenues" and place > 200)
    rows[first][-1] *= -1.0
    shares = next(place for place, row in enumerate(rows) if row[1] == "SharesOutstanding" and place > 300)
    money = next(place for place, row in enumerate(rows) if row[1] == "StockholdersEquity" and row[3] == rows[shares][3])
    rows[shares][2] = "USD"
    other = next(place for place, row in enumerate(rows) if row[1] == "SharesOutstanding" and place > 500)
    equity = next(place for place, row in enumerate(rows) if row[1] == "StockholdersEquity" and row[3] == rows[other][3])
    rows[equity][-1] = rows[other][-1]
    found = found_in(rows)
    assert {(first, "odd_sign", "warning"), (shares, "odd_unit", "warning"), (equity, "shares_as_money", "warning")} <= found
    assert {row for row, _, _ in found} <= {first, shares, money, other, equity}


def test_a_finding_is_known_with_the_last_filing_it_rests_on_and_says_its_numbers():
    rows = statements()
    place = next(place for place, row in enumerate(rows) if row[1] == "Assets" and row[3] == "F3-5")
    rows[place][-1] *= 1000.0
    (found,) = find_fact_defects(facts_of(rows))
    assert rows[found.known_row][3] == "F3-8", "three periods later"
    assert "units mixed" in found.reason
    assert dict(found.evidence)["powers_of_ten"] == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize("path", shared("fundamentals_sp500_2015_2017.parquet"))
def test_statements_of_the_sp500(path):
    table = pq.read_table(path)
    moments = {"assets", "cur_assets", "cur_liab", "cash", "equity"}
    per_share = {"eps_basic", "eps_diluted", "dividend"}
    rows = []
    for row in table.to_pylist():
        days = 365 if row["period_focus"] == "FY" else 91
        for name in ("revenues", "op_income", "net_income", *sorted(moments), *sorted(per_share)):
            if row[name] is not None and np.isfinite(row[name]):
                unit, length = "USD/shares" if name in per_share else "USD", 0 if name in moments else days
                known = row["available_date"]
                rows.append([row["symbol"], name, unit, f"{row['symbol']}{known}", length, row["end_date"].date(), known, row[name]])
    facts = facts_of(rows)
    held = {(str(facts.entity[i.row]), str(facts.concept[i.row])) for i in find_fact_defects(facts) if i.severity == "error"}
    # Each looked at: assets of 10 dollars, cents for dollars, corrections in the place of totals; MPC's real million of income is not one.
    assert held == {
        ("WRK", "assets"),
        ("WRK", "equity"),
        ("LUK", "cash"),
        ("HBAN", "dividend"),
        ("HBAN", "revenues"),
        ("NRG", "dividend"),
        ("KHC", "revenues"),
    }
