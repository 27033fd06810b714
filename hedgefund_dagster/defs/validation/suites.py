"""What each table must keep, in one place: from its contract (`schemas.py`), and from the rules of the table itself.

A severity is ``critical`` (the table is wrong) or ``warning`` (a row is; bars go to quarantine, which counts them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from hedgefund_core import schemas
from hedgefund_core.schemas import ColumnType, Table

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

Make = Callable[[pa.Table], "list[Expectation]"]
CRITICAL, WARNING = "critical", "warning"
PRICES = ("open", "high", "low", "close")
SYMBOL = r"^[A-Z0-9][A-Z0-9.\-^=/_ ]{0,31}$"
UNIT = r"^[A-Za-z][A-Za-z0-9_\-:]*(/[A-Za-z][A-Za-z0-9_\-:]*)?$"
_LATER_THAN_TS = {schemas.BARS.name, schemas.VALIDATED_BARS.name}
"""Tables whose rows cannot be known before they happened; of the others some are announced (sessions, ex-days)."""
_ANNOUNCED = {t.name for t in (schemas.MARKET_SESSIONS, schemas.STATED_ACTIONS, schemas.PRICE_FACTORS)}
_ROW_SEVERITY = {schemas.VALIDATED_BARS.name: CRITICAL}
"""A bad row is a warning, because it is judged and held by the row rules; what has passed them may not be bad."""


def suite_of(table: Table, rows: pa.Table) -> list[Expectation]:
    """The expectations of a table: its contract, then its own rules."""
    rules = TABLE_RULES.get(table.name)
    return [*_contract(table), *(rules(rows) if rules else [])]


def _contract(table: Table) -> list[Expectation]:
    """Columns and their order, some rows, no forbidden null, one row a key, times in order."""
    import great_expectations.expectations as gxe

    required = [c.name for c in table.columns if not c.nullable and c.type is not ColumnType.FLAG]
    names, rowwise = set(table.column_names), _ROW_SEVERITY.get(table.name, WARNING)
    found: list[Expectation] = [
        gxe.ExpectTableColumnsToMatchOrderedList(column_list=list(table.column_names), severity=CRITICAL),
        gxe.ExpectTableRowCountToBeBetween(min_value=0 if table is schemas.CORPORATE_ACTIONS else 1, severity=CRITICAL),
        *(gxe.ExpectColumnValuesToNotBeNull(column=name, severity=CRITICAL) for name in required),
    ]
    unique = [name for name in (table.identity or table.key) if name in required]
    if len(unique) == len(table.identity or table.key):  # a key of one filer may have no first day
        one = gxe.ExpectColumnValuesToBeUnique(column=unique[0], severity=rowwise) if len(unique) == 1 else None
        found.append(one or gxe.ExpectCompoundColumnsToBeUnique(column_list=unique, severity=rowwise))
    if {"ts", "known_at"} <= names and table.name not in _ANNOUNCED:
        later = {"column_A": "known_at", "column_B": "ts", "or_equal": table.name not in _LATER_THAN_TS}
        found.append(gxe.ExpectColumnPairValuesAToBeGreaterThanB(**later, severity=CRITICAL))
    if "known_at_basis" in names:
        basis = ["observed", "vendor", "assumed"]
        found.append(gxe.ExpectColumnValuesToBeInSet(column="known_at_basis", value_set=basis, severity=CRITICAL))
    return found


def _bars(severity: str) -> Make:
    def made(rows: pa.Table) -> list[Expectation]:
        import great_expectations.expectations as gxe

        present = [name for name in PRICES if rows.column(name).null_count < rows.num_rows]
        found: list[Expectation] = [gxe.ExpectColumnValuesToNotBeNull(column="close", severity=severity)]
        found += [gxe.ExpectColumnValuesToBeBetween(column=n, min_value=0, strict_min=True, severity=severity) for n in present]
        found.append(gxe.ExpectColumnValuesToBeBetween(column="volume", min_value=0, severity=severity))
        return [*found, *([_not_below("high", "low", severity)] if {"high", "low"} <= set(present) else [])]

    return made


def _not_below(greater: str, lesser: str, severity: str = WARNING) -> Expectation:
    """One column is at least another, where both are there."""
    import great_expectations.expectations as gxe

    pair = {"column_A": greater, "column_B": lesser, "or_equal": True, "ignore_row_if": "either_value_is_missing"}
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(**pair, severity=severity)


def _positive(*columns: str) -> list[Expectation]:
    import great_expectations.expectations as gxe

    return [gxe.ExpectColumnValuesToBeBetween(column=name, min_value=0, strict_min=True, severity=WARNING) for name in columns]


def _not_negative(*columns: str) -> list[Expectation]:
    import great_expectations.expectations as gxe

    return [gxe.ExpectColumnValuesToBeBetween(column=name, min_value=0, severity=WARNING) for name in columns]


def _one_of(column: str, words: Sequence[str]) -> Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(words), severity=CRITICAL)


def _spelt(column: str, pattern: str) -> Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToMatchRegex(column=column, regex=pattern, severity=WARNING)


def _news(_rows: pa.Table) -> list[Expectation]:
    import great_expectations.expectations as gxe

    tone = {"column": "value", "min_value": -100, "max_value": 100}
    steps = ("15m", "hour", "day")
    return [
        _one_of("measure", ("volume", "tone")),
        _one_of("resolution", steps),
        gxe.ExpectColumnValuesToBeBetween(**tone, severity=WARNING),
    ]


def _factors(_rows: pa.Table) -> list[Expectation]:
    import great_expectations.expectations as gxe

    share = {"column": "price_factor", "min_value": 0, "strict_min": True, "max_value": 1.0000001}
    return [
        _one_of("basis", ("event", "cumulative")),
        gxe.ExpectColumnValuesToBeBetween(**share, severity=WARNING),
        *_positive("split_factor"),
    ]


def _intraday(rows: pa.Table) -> list[Expectation]:
    return [_one_of("resolution", ("1h", "1m")), *_bars(WARNING)(rows), *_not_negative("trade_count")]


def _quotes(_rows: pa.Table) -> list[Expectation]:
    return [_not_below("ask", "bid"), *_not_negative("bid", "ask", "bid_size", "ask_size", "sequence")]


TABLE_RULES: Mapping[str, Make] = {
    schemas.BARS.name: _bars(WARNING),
    schemas.VALIDATED_BARS.name: _bars(CRITICAL),
    schemas.INTRADAY_BARS.name: _intraday,
    schemas.CORPORATE_ACTIONS.name: lambda _: [_one_of("kind", ("split", "dividend")), *_positive("value"), *_not_negative("noise")],
    schemas.STATED_ACTIONS.name: lambda _: [_one_of("kind", ("split", "dividend")), *_positive("value")],
    schemas.PRICE_FACTORS.name: _factors,
    schemas.MACRO.name: lambda _: [_spelt("series_id", r"^\S+$"), _spelt("unit", r"\S")],
    schemas.FUNDAMENTALS.name: lambda _: [
        _not_below("period_end", "period_start"),
        _not_below("filed", "period_end"),
        _spelt("unit", UNIT),
        _spelt("concept", r"^[A-Za-z][A-Za-z0-9]*$"),
        _spelt("accession", r"^\d{10}-\d{2}-\d{6}$"),
    ],
    schemas.NEWS.name: _news,
    schemas.ARTICLES.name: lambda _: [_spelt("headline", r"\S"), _spelt("url", r"^https?://")],
    schemas.INSTRUMENTS.name: lambda _: [_spelt("symbol", SYMBOL), _spelt("instrument_id", r"\S")],
    schemas.MARKET_SESSIONS.name: lambda _: [_not_below("closes_at", "opens_at")],
    schemas.SYMBOL_HISTORY.name: lambda _: [
        _spelt("symbol", SYMBOL),
        _not_below("valid_until", "valid_from"),
        _one_of("event", ("listed", "renamed", "delisted", "reused")),
        *_not_negative("terminal_value"),
    ],
    schemas.UNIVERSE_MEMBERSHIP.name: lambda _: [_spelt("symbol", SYMBOL), _not_below("valid_until", "valid_from")],
    schemas.SECTORS.name: lambda _: [_spelt("sector", r"\S"), _not_below("valid_until", "valid_from")],
    schemas.QUOTES.name: _quotes,
    schemas.TRADES.name: lambda _: [*_positive("price", "size"), *_not_negative("sequence")],
}
"""What a table must keep beyond its contract; a new table adds a line here."""
