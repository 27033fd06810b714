"""GDELT's DOC 2.0 interface: how much the world's press wrote about a question, and in which tone. No key."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import msgspec
import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import ConfigError, DataInvalid
from hedgefund_core.quant.bars import KnownAtBasis
from hedgefund_core.schemas import NEWS
from hedgefund_dagster.sources.http.client import Ask, HttpClient
from hedgefund_dagster.sources.http.content import json_of
from hedgefund_dagster.sources.http.declaration import Dataset, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.http.rows import table_rows
from hedgefund_dagster.sources.source import Bias, RawPayload

NAME = "gdelt"
_MEASURES = {"timelinevol": ("volume", "Volume Intensity"), "timelinetone": ("tone", "Average Tone")}
_STEPS = {"15m": timedelta(minutes=15), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_DELAY = timedelta(minutes=15)
"""The index is updated every quarter of an hour."""
_WINDOW = timedelta(days=365)
"""Long spans are asked for by the year: each answer stays small, and all are daily."""

FACTS = VendorFacts(
    name=NAME,
    title="GDELT DOC 2.0 news timelines",
    base_urls={"": "https://api.gdeltproject.org"},
    datasets=(
        Dataset(
            name="news",
            table=NEWS,
            title="share of coverage and mean tone by day and question",
            first=date(2017, 1, 1),
            names_needed=True,
            mapping={
                "topic": "vendors.gdelt.queries",
                "query": "query_details.title",
                "measure": "timeline[].series",
                "ts": "date",
                "value": "value",
            },
        ),
    ),
    quotas=(Quota(requests=1, seconds=5.0), Quota(requests=600, seconds=3_600.0)),
    licence="free for any use with a citation of the GDELT Project and a link to it",
    documentation="https://blog.gdeltproject.org/gdelt-doc-2-0-api-debuts/",
    biases=(
        Bias(
            name="re-indexed history",
            direction="old days are counted with today's list of outlets; the numbers of that day itself are not kept",
        ),
        Bias(name="homonyms", direction="a question in words finds namesakes: adds noise, most for short company names"),
    ),
)


class _Details(msgspec.Struct, frozen=True):
    title: str
    date_resolution: str


class _Point(msgspec.Struct, frozen=True):
    moment: str = msgspec.field(name="date")
    value: float = msgspec.field()


class _Series(msgspec.Struct, frozen=True):
    series: str
    data: list[_Point]


class _Timelines(msgspec.Struct, frozen=True):
    query_details: _Details
    timeline: list[_Series]


class Gdelt:
    """Questions by topic from the configuration; two timelines each."""

    def __init__(self, settings: VendorSettings) -> None:
        self._queries = settings.queries

    @property
    def facts(self) -> VendorFacts:
        """Constant."""
        return FACTS

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """Volume and tone of every topic of the scope (none named: all), a year a request."""
        topics = scope.names or tuple(self._queries)
        unknown = [topic for topic in topics if topic not in self._queries]
        if unknown:
            raise ConfigError(
                f"sources.yaml: vendors.gdelt.queries has no question for {', '.join(unknown)}",
                mend="add a line such as AAPL: '\"Apple Inc\"' below vendors.gdelt.queries",
            )
        asks = [_ask(self._queries[topic], mode, *window) for topic in topics for mode in _MEASURES for window in _windows(scope)]
        return tuple(client.get(ask, _timelines).payload for ask in asks)

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """A row a topic, measure and step. A step is known a quarter of an hour after its end, which is what the index needs."""
        topics = {query: topic for topic, query in self._queries.items()}
        return table_rows(NEWS, [record for payload in payloads for record in _records(payload, topics)], recorded_at)


def _windows(scope: Scope) -> Iterator[tuple[datetime, datetime]]:
    start = datetime.combine(scope.since, datetime.min.time(), tzinfo=UTC)
    last = datetime.combine(scope.until, datetime.min.time(), tzinfo=UTC) + timedelta(days=1)
    while start < last:
        yield start, min(start + _WINDOW, last)
        start += _WINDOW


def _ask(query: str, mode: str, start: datetime, end: datetime) -> Ask:
    span = {"startdatetime": f"{start:%Y%m%d%H%M%S}", "enddatetime": f"{end - timedelta(seconds=1):%Y%m%d%H%M%S}"}
    return Ask(dataset="news", path="/api/v2/doc/doc", params={"query": query, "mode": mode, "format": "json", **span})


def _asked(payload: RawPayload, name: str) -> str:
    return parse_qs(urlsplit(payload.origin).query).get(name, [""])[0]


def _timelines(payload: RawPayload) -> _Timelines:
    """The answer, if it is about what was asked. ``{}`` is how the service says that nobody wrote anything."""
    if payload.content.strip() == b"{}":
        return _Timelines(query_details=_Details(title=_asked(payload, "query"), date_resolution="day"), timeline=[])
    found = json_of(payload, _Timelines)
    asked = _asked(payload, "query")
    if html.unescape(found.query_details.title).strip().casefold() != asked.strip().casefold():
        raise DataInvalid(
            f"{payload.origin}: the field `title` is {found.query_details.title!r}: another question than {asked!r} was answered"
        )
    if found.query_details.date_resolution not in _STEPS:
        raise DataInvalid(
            f"{payload.origin}: the field `date_resolution` is {found.query_details.date_resolution!r}, none of {', '.join(_STEPS)}"
        )
    wanted = _MEASURES[_asked(payload, "mode")][1]
    for line in found.timeline:
        if line.series != wanted:
            raise DataInvalid(f"{payload.origin}: the field `series` is {line.series!r}, not {wanted!r}")
        _refuse_bad_points(payload, line)
    return found


def _refuse_bad_points(payload: RawPayload, line: _Series) -> None:
    for row, point in enumerate(line.data, start=1):
        _moment(payload, row, point.moment)
        if not math.isfinite(point.value):
            raise DataInvalid(f"{payload.origin}: row {row}, field `value`: {point.value} is no number")


def _moment(payload: RawPayload, row: int, text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise DataInvalid(f"{payload.origin}: row {row}, field `date`: {text!r} is no time like 20240131T000000Z") from error


def _records(payload: RawPayload, topics: dict[str, str]) -> Iterator[dict[str, object]]:
    found, query = _timelines(payload), _asked(payload, "query")
    step = _STEPS[found.query_details.date_resolution]
    for line in found.timeline:
        for row, point in enumerate(line.data, start=1):
            ended = _moment(payload, row, point.moment) + step
            yield {
                "topic": topics.get(query, query),
                "query": query,
                "measure": _MEASURES[_asked(payload, "mode")][0],
                "resolution": found.query_details.date_resolution,
                "ts": ended,
                "known_at": ended + _DELAY,
                "known_at_basis": KnownAtBasis.ASSUMED.value,
                "value": point.value,
                "source": NAME,
                "raw_sha256": payload.sha256,
                "source_row": row,
            }
