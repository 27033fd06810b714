"""The US Treasury's daily par yield curve: its documented XML feed, a year a request, no key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from urllib.parse import parse_qs, urlsplit
from xml.etree.ElementTree import Element

import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import KnownAtBasis
from hedgefund_core.schemas import MACRO
from hedgefund_dagster.sources.http.client import Ask, HttpClient
from hedgefund_dagster.sources.http.content import number, xml_of
from hedgefund_dagster.sources.http.declaration import Dataset, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.http.rows import at, table_rows
from hedgefund_dagster.sources.source import Bias, RawPayload

NAME = "us_treasury"
_FEED = "DailyTreasuryYieldCurveRateData"
_ATOM = "{http://www.w3.org/2005/Atom}"
_DATA = "{http://schemas.microsoft.com/ado/2007/08/dataservices}"
_META = "{http://schemas.microsoft.com/ado/2007/08/dataservices/metadata}"
_YEAR = "field_tdr_date_value"
_DAY = "NEW_DATE"
_ALWAYS = ("BC_10YEAR",)
"""Maturities came and went (30 years stopped 2002 to 2006, 2 months came 2018, 4 months 2022, 1.5 months 2025); ten years never did."""
_QUOTED, _PUBLISHED = time(15, 30), time(18, 0)
"""Indicative quotations at or near 15:30 New York; published by 18:00 of the same day."""

FACTS = VendorFacts(
    name=NAME,
    title="US Treasury par yield curve",
    base_urls={"": "https://home.treasury.gov"},
    datasets=(
        Dataset(
            name="par_yields",
            table=MACRO,
            title="daily par yields by maturity, percent a year",
            mapping={"series_id": "element name", "period": _DAY, "value": "BC_*"},
        ),
    ),
    quotas=(Quota(requests=2, seconds=1.0), Quota(requests=60, seconds=60.0)),
    licence="public domain (US government work)",
    documentation="https://home.treasury.gov/treasury-daily-interest-rate-xml-feed",
    biases=(
        Bias(
            name="one vintage",
            direction="corrections replace the old number in the feed: before our first fetch the first print is not known",
        ),
        Bias(name="method of 2021-12-06", direction="earlier rates come from another spline: levels differ by a few basis points"),
    ),
)


class UsTreasury:
    """Atom feed with a property an entry and maturity."""

    def __init__(self, settings: VendorSettings) -> None:
        self._settings = settings

    @property
    def facts(self) -> VendorFacts:
        """Constant."""
        return FACTS

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """One payload a year; a year without entries yet is an empty feed, and no error."""
        asks = [
            Ask(
                dataset=dataset,
                path="/resource-center/data-chart-center/interest-rates/pages/xml",
                params={"data": "daily_treasury_yield_curve", _YEAR: str(year)},
                ending=".xml",
            )
            for year in range(scope.since.year, scope.until.year + 1)
        ]
        return tuple(client.get(ask, _records).payload for ask in asks)

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """A row a day and maturity; a maturity that was not issued has no row."""
        return table_rows(MACRO, [record for payload in payloads for record in _records(payload)], recorded_at)


def _records(payload: RawPayload) -> list[dict[str, object]]:
    root = xml_of(payload)
    title = root.findtext(f"{_ATOM}title", "")
    if root.tag != f"{_ATOM}feed" or title.strip() != _FEED:
        raise DataInvalid(f"{payload.origin}: the field `title` is {title!r}, not {_FEED!r}: another data set was served")
    year = parse_qs(urlsplit(payload.origin).query).get(_YEAR, [""])[0]
    records: list[dict[str, object]] = []
    for row, entry in enumerate(root.findall(f"{_ATOM}entry"), start=1):
        properties = entry.find(f"{_ATOM}content/{_META}properties")
        if properties is None:
            raise DataInvalid(f"{payload.origin}: row {row}: the field `properties` is missing")
        fields = {child.tag.removeprefix(_DATA): (child.text or "").strip() for child in properties}
        records += _entry(payload, row, fields, year)
    _refuse_foreign(payload, root)
    return records


def _entry(payload: RawPayload, row: int, fields: dict[str, str], year: str) -> list[dict[str, object]]:
    """Rows of one day."""
    for name in (_DAY, *_ALWAYS):
        if name not in fields:
            raise DataInvalid(f"{payload.origin}: row {row}: the field `{name}` is missing", mend="compare with the feed's documentation")
    try:
        day = date.fromisoformat(fields[_DAY][:10])
    except ValueError as error:
        raise DataInvalid(f"{payload.origin}: row {row}, field `{_DAY}`: {fields[_DAY]!r} is no day") from error
    if year and str(day.year) != year:
        raise DataInvalid(f"{payload.origin}: row {row}, field `{_DAY}`: {day} is not in the year that was asked for")
    yields = {
        name: number(payload, row, name, text) for name, text in fields.items() if name.startswith("BC_") and "DISPLAY" not in name and text
    }
    return [
        {
            "series_id": name,
            "period": day,
            "ts": at(day, _QUOTED),
            "known_at": at(day, _PUBLISHED),
            "known_at_basis": KnownAtBasis.ASSUMED.value,
            "value": value,
            "unit": "percent a year",
            "source": NAME,
            "raw_sha256": payload.sha256,
            "source_row": row,
        }
        for name, value in yields.items()
    ]


def _refuse_foreign(payload: RawPayload, root: Element) -> None:
    """A feed that carries things but no entry is not an empty year, it is another format."""
    known = {f"{_ATOM}{name}" for name in ("title", "id", "updated", "link", "entry", "author")}
    strange = [child.tag for child in root if child.tag not in known]
    if strange:
        raise DataInvalid(f"{payload.origin}: the element `{strange[0].removeprefix(_ATOM)}` is not part of the feed's format")
