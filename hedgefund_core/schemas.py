"""The tables of the lake: which columns, which types, what may be null, what each means.

Contracts only: each shell reads and writes the tables with its own thin code. Every table of observations carries
three times: ``ts`` (when it happened), ``known_at`` (when it could be known), ``recorded_at`` (when we stored it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class ColumnType(StrEnum):
    """Types a column may have; a shell maps them to those of its store."""

    TEXT = "text"
    DATE = "date"
    TIMESTAMP = "timestamp"
    FLOAT = "float"
    INTEGER = "integer"
    FLAG = "flag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: a null in a column that is not nullable is a schema error."""

    name: str
    type: ColumnType
    meaning: str
    nullable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table; ``key`` names what may stand once per version."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in their fixed order."""
        return tuple(column.name for column in self.columns)


def _column(name: str, kind: ColumnType, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name=name, type=kind, meaning=meaning, nullable=nullable)


_SYMBOL = _column("symbol", ColumnType.TEXT, "dated name of the instrument")
_SESSION = _column("session", ColumnType.DATE, "trading session the row belongs to")
_TIMES = (
    _column("ts", ColumnType.TIMESTAMP, "when it happened: the session's close, UTC"),
    _column("known_at", ColumnType.TIMESTAMP, "when the market could know it, UTC"),
    _column("recorded_at", ColumnType.TIMESTAMP, "when we stored it, UTC"),
    _column("known_at_basis", ColumnType.TEXT, "observed, vendor or assumed"),
)
_PRICES = (
    _column("open", ColumnType.FLOAT, "first price of the session", nullable=True),
    _column("high", ColumnType.FLOAT, "highest price", nullable=True),
    _column("low", ColumnType.FLOAT, "lowest price", nullable=True),
    _column("close", ColumnType.FLOAT, "last price; null only in a row that goes to quarantine", nullable=True),
    _column("volume", ColumnType.FLOAT, "shares traded", nullable=True),
    _column("adj_close", ColumnType.FLOAT, "the vendor's adjusted close, kept as evidence, never traded on", nullable=True),
)

BARS = Table(
    name="bars",
    meaning="Bars as the source gave them; a correction is a new version (a later recorded_at), history is never rewritten",
    key=("symbol", "session"),
    columns=(
        _SYMBOL,
        _SESSION,
        *_TIMES,
        *_PRICES,
        _column("source", ColumnType.TEXT, "name of the source"),
        _column("raw_sha256", ColumnType.TEXT, "digest of the raw payload the row was read from"),
        _column("source_row", ColumnType.INTEGER, "row number inside that payload, counted from 1"),
    ),
)

VALIDATED_BARS = Table(
    name="validated_bars",
    meaning="The latest version of every bar that passed the row rules, once per symbol and session",
    key=("symbol", "session"),
    columns=BARS.columns,
)

CORPORATE_ACTIONS = Table(
    name="corporate_actions",
    meaning="Splits and dividends by ex-session, with where the number comes from",
    key=("symbol", "session", "kind"),
    columns=(
        _SYMBOL,
        _SESSION,
        *_TIMES,
        _column("kind", ColumnType.TEXT, "split or dividend"),
        _column("value", ColumnType.FLOAT, "split: new shares per old share; dividend: cash per share"),
        _column("noise", ColumnType.FLOAT, "half width of what rounding of the inputs can do to the value"),
        _column("provenance", ColumnType.TEXT, "stated by the vendor, or derived from which columns"),
        _column("source", ColumnType.TEXT, "name of the source"),
    ),
)

QUARANTINE = Table(
    name="quarantine",
    meaning="Rows that broke a rule, with the reason; the row itself stays in the bar table",
    key=("source", "symbol", "ts", "rule"),
    columns=(
        _SYMBOL,
        _column("ts", ColumnType.TIMESTAMP, "close of the session of the row, UTC"),
        _column("known_at", ColumnType.TIMESTAMP, "when the breach could be known (a spike only when it has returned)"),
        _column("rule", ColumnType.TEXT, "name of the rule"),
        _column("severity", ColumnType.TEXT, "error: the row is held back; warning: it is kept and noted"),
        _column("reason", ColumnType.TEXT, "what is wrong, in words with the numbers"),
        _column("source", ColumnType.TEXT, "name of the source"),
        _column("value", ColumnType.FLOAT, "the offending number", nullable=True),
        _column("released", ColumnType.FLAG, "true: a person let the row back in, or it was never held back"),
    ),
)

_FEATURE_KEYS = (_SYMBOL, _SESSION, _column("known_at", ColumnType.TIMESTAMP, "when the newest input could be known, UTC"))

FEATURES = Table(
    name="features",
    meaning="Feature values, a column each; null during the stated warm-up and where inputs are absent",
    key=("symbol", "session"),
    columns=_FEATURE_KEYS,
)


def features_table(names: tuple[str, ...]) -> Table:
    """The feature table with one column a feature."""
    values = tuple(_column(name, ColumnType.FLOAT, "value of the feature of this name", nullable=True) for name in names)
    return replace(FEATURES, columns=(*_FEATURE_KEYS, *values))


LABELS = Table(
    name="labels",
    meaning="Forward returns a model is trained on; known only when their last session has closed",
    key=("symbol", "session", "horizon"),
    columns=(
        _SYMBOL,
        _SESSION,
        _column("known_at", ColumnType.TIMESTAMP, "when the label could be known: after its last session", nullable=True),
        _column("horizon", ColumnType.INTEGER, "sessions ahead"),
        _column("value", ColumnType.FLOAT, "excess of the forward return over the cross-section's mean", nullable=True),
    ),
)

FILLS = Table(
    name="fills",
    meaning="Fills as the executor journaled them",
    key=("fill_id",),
    columns=(
        _column("fill_id", ColumnType.TEXT, "the broker's id of the fill"),
        _column("client_order_id", ColumnType.TEXT, "our id of the order"),
        _SYMBOL,
        _column("side", ColumnType.TEXT, "buy or sell"),
        _column("quantity", ColumnType.TEXT, "shares, decimal string, never negative"),
        _column("price", ColumnType.TEXT, "price, decimal string"),
        _column("commission", ColumnType.TEXT, "commission, decimal string"),
        _column("ts", ColumnType.TIMESTAMP, "when it was filled, UTC"),
    ),
)

TABLES: tuple[Table, ...] = (BARS, VALIDATED_BARS, CORPORATE_ACTIONS, QUARANTINE, FEATURES, LABELS, FILLS)
