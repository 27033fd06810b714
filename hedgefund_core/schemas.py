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
    """One table; ``key`` names what may stand once per version, ``identity`` what an as-of read returns once (empty: not read so)."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    identity: tuple[str, ...] = ()

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
    key=("source", "symbol", "ts", "rule", "instrument"),
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
        _column("instrument", ColumnType.TEXT, "what the finding is about: the symbol, or the filer and the name of the fact"),
        _column("evidence", ColumnType.TEXT, "the numbers the verdict rests on, as a JSON object"),
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

_ORIGIN = (
    _column("source", ColumnType.TEXT, "name of the source"),
    _column("raw_sha256", ColumnType.TEXT, "digest of the raw payload the row was read from"),
    _column("source_row", ColumnType.INTEGER, "row number inside that payload, counted from 1"),
)

MACRO = Table(
    name="macro",
    meaning="Economic and rate series with every vintage: a revision is a row with a later known_at, never a changed row",
    key=("series_id", "ts", "known_at"),
    identity=("series_id", "ts"),
    columns=(
        _column("series_id", ColumnType.TEXT, "the vendor's name of the series"),
        _column("period", ColumnType.DATE, "day the observation is dated with"),
        *_TIMES,
        _column("value", ColumnType.FLOAT, "observation; null where the vendor states that there is none", nullable=True),
        _column("unit", ColumnType.TEXT, "unit as the vendor spells it"),
        *_ORIGIN,
    ),
)

FUNDAMENTALS = Table(
    name="fundamentals",
    meaning="Facts of financial statements, known when the filing that states them was public; a restatement is a later filing",
    key=("symbol", "cik", "taxonomy", "concept", "unit", "period_start", "period_end", "accession"),
    identity=("symbol", "cik", "taxonomy", "concept", "unit", "period_start", "ts"),
    columns=(
        _column("symbol", ColumnType.TEXT, "name the filer was asked for by"),
        _column("cik", ColumnType.INTEGER, "the regulator's number of the filer, where the source states it", nullable=True),
        _column("entity", ColumnType.TEXT, "name of the filer"),
        _column("taxonomy", ColumnType.TEXT, "us-gaap, dei, ifrs-full, ..."),
        _column("concept", ColumnType.TEXT, "name of the fact in its taxonomy"),
        _column("unit", ColumnType.TEXT, "USD, shares, USD/shares, pure"),
        _column("period_start", ColumnType.DATE, "first day of the period; null for a fact at a moment", nullable=True),
        _column("period_end", ColumnType.DATE, "last day of the period, or the day of the moment"),
        *_TIMES,
        _column("value", ColumnType.FLOAT, "the fact"),
        _column("fiscal_year", ColumnType.INTEGER, "fiscal year of the filing", nullable=True),
        _column("fiscal_period", ColumnType.TEXT, "FY, Q1, Q2, Q3 of the filing", nullable=True),
        _column("form", ColumnType.TEXT, "10-K, 10-Q, 8-K, ..."),
        _column("filed", ColumnType.DATE, "day the filing was made"),
        _column("accession", ColumnType.TEXT, "number of the filing"),
        *_ORIGIN,
    ),
)

NEWS = Table(
    name="news",
    meaning="How much was written about a topic and in which tone, by time step",
    key=("topic", "measure", "resolution", "ts"),
    identity=("topic", "measure", "resolution", "ts"),
    columns=(
        _column("topic", ColumnType.TEXT, "our name of the question: mostly a symbol"),
        _column("query", ColumnType.TEXT, "the question as it was asked"),
        _column("measure", ColumnType.TEXT, "volume: share of all coverage, percent; tone: mean tone, negative is bad"),
        _column("resolution", ColumnType.TEXT, "length of a step: 15m, hour or day"),
        *_TIMES,
        _column("value", ColumnType.FLOAT, "the measure over the step that ends at ts"),
        *_ORIGIN,
    ),
)

INSTRUMENTS = Table(
    name="instruments",
    meaning="Who stands behind a symbol, as seen when it was asked; a name that changes hands is a later version",
    key=("symbol", "instrument_id"),
    identity=("symbol",),
    columns=(
        _column("instrument_id", ColumnType.TEXT, "stable id in the vendor's words"),
        _SYMBOL,
        _column("name", ColumnType.TEXT, "name of the company or fund"),
        _column("exchange", ColumnType.TEXT, "primary exchange, where the vendor states it", nullable=True),
        *_TIMES,
        *_ORIGIN,
    ),
)

STATED_ACTIONS = Table(
    name="stated_actions",
    meaning="Splits and dividends as a vendor states them, every version kept; several payments of one ex-session are one row",
    key=("symbol", "session", "kind"),
    identity=("symbol", "session", "kind"),
    columns=(
        _SYMBOL,
        _column("session", ColumnType.DATE, "ex-session: the first one that trades without the payment, or in new shares"),
        *_TIMES,
        _column("kind", ColumnType.TEXT, "split or dividend"),
        _column("value", ColumnType.FLOAT, "split: new shares per old share; dividend: cash per share of that day, unadjusted"),
        _column("currency", ColumnType.TEXT, "currency of a dividend, where the vendor states it", nullable=True),
        *_ORIGIN,
    ),
)

MARKET_SESSIONS = Table(
    name="market_sessions",
    meaning="Sessions of an exchange as a vendor states them: evidence against our own calendar",
    key=("exchange", "session"),
    identity=("exchange", "session"),
    columns=(
        _column("exchange", ColumnType.TEXT, "exchange, ISO 10383"),
        _SESSION,
        *_TIMES,
        _column("opens_at", ColumnType.TIMESTAMP, "regular trading begins, UTC"),
        _column("closes_at", ColumnType.TIMESTAMP, "regular trading ends, UTC (half days too)"),
        *_ORIGIN,
    ),
)

ARTICLES = Table(
    name="articles",
    meaning="News articles by symbol: what could be read when; an edited article is a row with a later known_at",
    key=("article_id", "symbol", "known_at"),
    identity=("article_id", "symbol"),
    columns=(
        _column("article_id", ColumnType.TEXT, "the vendor's id of the article"),
        _SYMBOL,
        *_TIMES,
        _column("headline", ColumnType.TEXT, "headline"),
        _column("summary", ColumnType.TEXT, "summary, where there is one", nullable=True),
        _column("author", ColumnType.TEXT, "author", nullable=True),
        _column("publisher", ColumnType.TEXT, "who published it", nullable=True),
        _column("url", ColumnType.TEXT, "where it stands", nullable=True),
        *_ORIGIN,
    ),
)

_RESOLUTION = _column("resolution", ColumnType.TEXT, "length of a step: 1h or 1m; tick: every one there was")
_VALID = (
    _column("valid_from", ColumnType.DATE, "first day it holds"),
    _column("valid_until", ColumnType.DATE, "last day it holds; null while it does", nullable=True),
)

INTRADAY_BARS = Table(
    name="intraday_bars",
    meaning="Bars shorter than a session; a correction is a new version",
    key=("symbol", "resolution", "ts"),
    identity=("symbol", "resolution", "ts"),
    columns=(
        _SYMBOL,
        _RESOLUTION,
        _SESSION,
        _column("ts", ColumnType.TIMESTAMP, "close of the bar, UTC"),
        *_TIMES[1:],
        *_PRICES[:4],
        _column("volume", ColumnType.FLOAT, "shares traded", nullable=True),
        _column("vwap", ColumnType.FLOAT, "average price weighted by volume", nullable=True),
        _column("trade_count", ColumnType.INTEGER, "number of trades", nullable=True),
        *_ORIGIN,
    ),
)

QUOTES = Table(
    name="quotes",
    meaning="Samples of the best bid and ask: every quote, or the last one of each step",
    key=("symbol", "resolution", "ts", "sequence"),
    identity=("symbol", "resolution", "ts", "sequence"),
    columns=(
        _SYMBOL,
        _RESOLUTION,
        _column("sequence", ColumnType.INTEGER, "tells quotes of the same instant apart, from 0"),
        _SESSION,
        _column("ts", ColumnType.TIMESTAMP, "time of the quote, or end of the step, UTC"),
        *_TIMES[1:],
        _column("bid", ColumnType.FLOAT, "best bid; null: nobody bids", nullable=True),
        _column("bid_size", ColumnType.FLOAT, "shares bid for", nullable=True),
        _column("ask", ColumnType.FLOAT, "best ask; null: nobody asks", nullable=True),
        _column("ask_size", ColumnType.FLOAT, "shares offered", nullable=True),
        *_ORIGIN,
    ),
)

TRADES = Table(
    name="trades",
    meaning="Samples of single trades",
    key=("symbol", "ts", "sequence"),
    identity=("symbol", "ts", "sequence"),
    columns=(
        _SYMBOL,
        _column("sequence", ColumnType.INTEGER, "tells trades of the same instant apart, from 0"),
        _SESSION,
        _column("ts", ColumnType.TIMESTAMP, "time of the trade, UTC"),
        *_TIMES[1:],
        _column("price", ColumnType.FLOAT, "price"),
        _column("size", ColumnType.FLOAT, "shares"),
        _column("exchange", ColumnType.TEXT, "where, as the vendor spells it", nullable=True),
        _column("conditions", ColumnType.TEXT, "the vendor's marks of the trade", nullable=True),
        *_ORIGIN,
    ),
)

PRICE_FACTORS = Table(
    name="price_factors",
    meaning="Adjustment factors as a vendor states them: raw prices through a day are multiplied by them",
    key=("symbol", "basis", "through"),
    identity=("symbol", "basis", "through"),
    columns=(
        _SYMBOL,
        _column("through", ColumnType.DATE, "last session the factors apply to: the last one that trades with the payment"),
        *_TIMES,
        _column("basis", ColumnType.TEXT, "event: of what happens after that session alone; cumulative: of all that happens later"),
        _column("price_factor", ColumnType.FLOAT, "what dividends leave of a price, in (0, 1]"),
        _column("split_factor", ColumnType.FLOAT, "old shares per new share"),
        _column("reference_price", ColumnType.FLOAT, "raw close of that session, as the vendor saw it", nullable=True),
        *_ORIGIN,
    ),
)

SYMBOL_HISTORY = Table(
    name="symbol_history",
    meaning="Which symbol named which instrument when: renames, delistings with what was paid, names that were used again",
    key=("instrument_id", "symbol", "valid_from"),
    identity=("instrument_id", "symbol", "valid_from"),
    columns=(
        _column("instrument_id", ColumnType.TEXT, "stable id, in the source's words"),
        _SYMBOL,
        *_VALID,
        *_TIMES,
        _column("exchange", ColumnType.TEXT, "primary exchange, where the source states it", nullable=True),
        _column("event", ColumnType.TEXT, "how the name began or ended: listed, renamed, delisted or reused"),
        _column("terminal_value", ColumnType.FLOAT, "cash per share at a delisting, where it is known", nullable=True),
        _column("successor", ColumnType.TEXT, "instrument_id or symbol that takes its place", nullable=True),
        *_ORIGIN,
    ),
)

UNIVERSE_MEMBERSHIP = Table(
    name="universe_membership",
    meaning="Which names belonged to a universe when",
    key=("universe", "symbol", "valid_from"),
    identity=("universe", "symbol", "valid_from"),
    columns=(
        _column("universe", ColumnType.TEXT, "name of the universe, such as sp500"),
        _SYMBOL,
        _column("instrument_id", ColumnType.TEXT, "stable id, where the source states it", nullable=True),
        *_VALID,
        *_TIMES,
        *_ORIGIN,
    ),
)

SECTORS = Table(
    name="sectors",
    meaning="Sector of a name in a classification, from a day on",
    key=("symbol", "scheme", "valid_from"),
    identity=("symbol", "scheme", "valid_from"),
    columns=(
        _SYMBOL,
        _column("scheme", ColumnType.TEXT, "name of the classification, such as gics"),
        _column("sector", ColumnType.TEXT, "sector"),
        _column("industry", ColumnType.TEXT, "finer class, where the source states it", nullable=True),
        *_VALID,
        *_TIMES,
        *_ORIGIN,
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

TABLES: tuple[Table, ...] = (
    BARS,
    VALIDATED_BARS,
    CORPORATE_ACTIONS,
    QUARANTINE,
    FEATURES,
    LABELS,
    MACRO,
    FUNDAMENTALS,
    NEWS,
    INSTRUMENTS,
    STATED_ACTIONS,
    MARKET_SESSIONS,
    ARTICLES,
    INTRADAY_BARS,
    QUOTES,
    TRADES,
    PRICE_FACTORS,
    SYMBOL_HISTORY,
    UNIVERSE_MEMBERSHIP,
    SECTORS,
    FILLS,
)
