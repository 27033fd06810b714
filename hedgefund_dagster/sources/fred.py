"""FRED and ALFRED of the St. Louis Fed: series with every vintage. Needs a (free) key."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import KnownAtBasis
from hedgefund_core.schemas import MACRO
from hedgefund_dagster.sources.http.client import Ask, Fetched, HttpClient
from hedgefund_dagster.sources.http.content import json_of, number
from hedgefund_dagster.sources.http.declaration import Dataset, KeyRule, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.http.paging import walk_pages
from hedgefund_dagster.sources.http.rows import end_of, table_rows
from hedgefund_dagster.sources.source import Bias, RawPayload

NAME = "fred"
_SERIES, _VINTAGES, _OBSERVATIONS = "series", "series_vintagedates", "series_observations"
_CHICAGO = ZoneInfo("America/Chicago")
"""Dates of the service are days of the Bank of St. Louis."""
_ABSENT = "."
_VINTAGES_AT_ONCE = 1_000
"""A request may span 2,000 vintages; daily series have more, so they are asked for in pieces."""
_PAGE = 100_000
_OVERLAP = 3
"""Stored vintages asked for again: what was stored of the last one may be from the morning of its day."""

FACTS = VendorFacts(
    name=NAME,
    title="FRED, Federal Reserve Bank of St. Louis",
    base_urls={"": "https://api.stlouisfed.org"},
    datasets=(
        Dataset(
            name="series",
            table=MACRO,
            title="observations of economic series with every vintage",
            first=date(1776, 7, 4),
            names_needed=True,
            mapping={
                "series_id": "seriess[].id",
                "period": "date",
                "known_at": "realtime_start",
                "value": "value",
                "unit": "seriess[].units",
            },
        ),
    ),
    quotas=(Quota(requests=2, seconds=1.0), Quota(requests=100, seconds=60.0)),
    licence="per series, stated on its page; FRED's terms forbid passing on series owned by third parties",
    documentation="https://fred.stlouisfed.org/docs/api/fred/",
    keys=(KeyRule(variable="FRED_API_KEY", parameter="api_key"),),
    biases=(
        Bias(name="first vintage", direction="observations older than the first archived vintage count as known only from that vintage on"),
    ),
)


class _Series(msgspec.Struct, frozen=True):
    id: str
    units: str


class _SeriesList(msgspec.Struct, frozen=True):
    seriess: list[_Series]


class _VintageDates(msgspec.Struct, frozen=True):
    count: int
    offset: int
    limit: int
    vintage_dates: list[date]


class _Observation(msgspec.Struct, frozen=True):
    realtime_start: date
    realtime_end: date
    date: date
    value: str


class _Observations(msgspec.Struct, frozen=True):
    count: int
    offset: int
    limit: int
    observations: list[_Observation]


class Fred:
    """Per series: what it is, when it was revised, what it said then."""

    def __init__(self, settings: VendorSettings) -> None:
        self._settings = settings

    @property
    def facts(self) -> VendorFacts:
        """Constant."""
        return FACTS

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """For each series its description and all pages of all vintages of the scope's days; of a stored one those since it was stored."""
        return tuple(payload for name in scope.names for payload in _fetch_series(name, scope, client))

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """A row an observation and vintage that says something new; a vintage that withdraws a number has a null."""
        units = {series.id: series.units for payload in payloads if payload.dataset == _SERIES for series in _described(payload).seriess}
        pages = [payload for payload in payloads if payload.dataset == _OBSERVATIONS]
        said = [record for payload in pages for record in _records(payload, units)]
        said.sort(key=itemgetter("series_id", "period", "known_at"))
        kept = [record for _, group in groupby(said, key=itemgetter("series_id", "period")) for record in _changes(list(group))]
        stored = _stored_before(payloads)
        fresh = [record for record in kept if record["known_at"] != stored.get(str(record["series_id"]))]
        return table_rows(MACRO, fresh, recorded_at)


def _ask(kind: str, series: str, **params: str) -> Ask:
    path = {_SERIES: "/fred/series", _VINTAGES: "/fred/series/vintagedates", _OBSERVATIONS: "/fred/series/observations"}[kind]
    return Ask(dataset=kind, path=path, params={"series_id": series, "file_type": "json", **params})


def _fetch_series(name: str, scope: Scope, client: HttpClient) -> list[RawPayload]:
    described = client.get(_ask(_SERIES, name), _described)

    def vintages_page(cursor: str) -> Fetched[_VintageDates]:
        return client.get(_ask(_VINTAGES, name, offset=cursor or "0", limit="10000"), lambda payload: json_of(payload, _VintageDates))

    pages = walk_pages(f"{NAME}: {name}", vintages_page, lambda page: _next(page.payload, page.value, len(page.value.vintage_dates)))
    vintages = sorted({day for page in pages for day in page.value.vintage_dates if day <= scope.until})
    if name in scope.stored_through:
        vintages = vintages[max(bisect_left(vintages, scope.stored_through[name]) - _OVERLAP, 0) :]
    observations = [
        payload
        for start in range(0, len(vintages), _VINTAGES_AT_ONCE)
        for payload in _fetch_observations(name, scope, vintages[start : start + _VINTAGES_AT_ONCE], client)
    ]
    return [described.payload, *(page.payload for page in pages), *observations]


def _fetch_observations(name: str, scope: Scope, vintages: list[date], client: HttpClient) -> list[RawPayload]:
    """All pages of one run of vintages."""
    span = {
        "realtime_start": vintages[0].isoformat(),
        "realtime_end": vintages[-1].isoformat(),
        "observation_start": scope.since.isoformat(),
        "observation_end": scope.until.isoformat(),
        "limit": str(_PAGE),
    }

    def page_at(cursor: str) -> Fetched[_Observations]:
        return client.get(_ask(_OBSERVATIONS, name, offset=cursor or "0", **span), _observed)

    pages = walk_pages(f"{NAME}: {name}", page_at, lambda page: _next(page.payload, page.value, len(page.value.observations)))
    return [page.payload for page in pages]


def _stored_before(payloads: Sequence[RawPayload]) -> dict[str, datetime]:
    """Per series asked for from a later than its first vintage on: when that vintage was known. What it says was stored before, and is
    stated under its date though it may be older: it serves to see what changed after it, and is no row.
    """
    first: dict[str, date] = {}
    for payload in payloads:
        if payload.dataset == _VINTAGES:
            name = _asked(payload, "series_id")
            first[name] = min([first.get(name, date.max), *json_of(payload, _VintageDates).vintage_dates])
    begun: dict[str, date] = {}
    for payload in payloads:
        if payload.dataset == _OBSERVATIONS:
            name, start = _asked(payload, "series_id"), date.fromisoformat(_asked(payload, "realtime_start"))
            begun[name] = min(begun.get(name, date.max), start)
    return {name: end_of(start, _CHICAGO) for name, start in begun.items() if start > first.get(name, date.max)}


def _next(payload: RawPayload, page: _Observations | _VintageDates, length: int) -> str:
    """Offset of the next page; raises DataInvalid if the page is not the one asked for, or holds nothing though more is announced."""
    asked = int(_asked(payload, "offset") or 0)
    if page.offset != asked:
        raise DataInvalid(f"{payload.origin}: the field `offset` is {page.offset}, another page was served")
    after = page.offset + length
    if after >= page.count:
        return ""
    if length == 0:
        raise DataInvalid(f"{payload.origin}: the field `count` announces {page.count} rows, the page is empty")
    return str(after)


def _asked(payload: RawPayload, name: str) -> str:
    return parse_qs(urlsplit(payload.origin).query).get(name, [""])[0]


def _described(payload: RawPayload) -> _SeriesList:
    found = json_of(payload, _SeriesList)
    asked = _asked(payload, "series_id")
    if [series.id for series in found.seriess] != [asked]:
        names = ", ".join(series.id for series in found.seriess)
        raise DataInvalid(f"{payload.origin}: the field `id` is {names!r}: another series than {asked!r} was served")
    return found


def _observed(payload: RawPayload) -> _Observations:
    """The page, every number of it readable."""
    page = json_of(payload, _Observations)
    for row, observation in enumerate(page.observations, start=page.offset + 1):
        number(payload, row, "value", "" if observation.value == _ABSENT else observation.value)
    return page


def _records(payload: RawPayload, units: dict[str, str]) -> list[dict[str, object]]:
    page, series = _observed(payload), _asked(payload, "series_id")
    if series not in units:
        raise DataInvalid(f"{payload.origin}: the description of {series} is not among the payloads")
    return [
        {
            "series_id": series,
            "period": observation.date,
            "ts": end_of(observation.date, _CHICAGO),
            "known_at": end_of(observation.realtime_start, _CHICAGO),
            "known_at_basis": KnownAtBasis.VENDOR.value,
            "value": None if observation.value == _ABSENT else float(observation.value),
            "unit": units[series],
            "source": NAME,
            "raw_sha256": payload.sha256,
            "source_row": row,
        }
        for row, observation in enumerate(page.observations, start=page.offset + 1)
    ]


def _changes(vintages: list[dict[str, object]]) -> list[dict[str, object]]:
    """Vintages of one observation that differ from the one before: where a request starts, unchanged numbers are stated again."""
    kept: list[dict[str, object]] = []
    for vintage in vintages:
        if kept and kept[-1]["known_at"] == vintage["known_at"] and kept[-1]["value"] != vintage["value"]:
            raise DataInvalid(
                f"{NAME}: {vintage['series_id']} {vintage['period']}: two values {kept[-1]['value']} and {vintage['value']} of one vintage"
            )
        if not kept or kept[-1]["value"] != vintage["value"]:
            kept.append(vintage)
    return kept
