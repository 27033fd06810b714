"""SEC EDGAR: facts of financial statements by the time of their filing, and who stands behind a ticker. No key, but a contact."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time

import msgspec
import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import KnownAtBasis
from hedgefund_core.schemas import FUNDAMENTALS, INSTRUMENTS
from hedgefund_dagster.sources.http.client import Ask, HttpClient
from hedgefund_dagster.sources.http.content import json_of
from hedgefund_dagster.sources.http.declaration import Dataset, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.http.rows import at, end_of, table_rows
from hedgefund_dagster.sources.source import Bias, RawPayload

NAME = "sec_edgar"
_TICKERS, _FACTS = "instruments", "fundamentals"
_LAST_ACCEPTED = time(22, 0)
"""Filings are accepted until 22:00 New York; the file has the day of a filing only, so its latest moment counts."""

FACTS = VendorFacts(
    name=NAME,
    title="SEC EDGAR company facts",
    base_urls={"": "https://data.sec.gov", "www": "https://www.sec.gov"},
    datasets=(
        Dataset(
            name=_FACTS,
            table=FUNDAMENTALS,
            title="facts of 10-K, 10-Q and other filings by filing time",
            names_needed=True,
            names_at_once=50,  # each time the list of tickers is asked for
            mapping={
                "cik": "cik",
                "entity": "entityName",
                "taxonomy": "facts.*",
                "concept": "facts.*.*",
                "unit": "units.*",
                "period_start": "start",
                "period_end": "end",
                "value": "val",
                "accession": "accn",
                "fiscal_year": "fy",
                "fiscal_period": "fp",
                "form": "form",
                "filed": "filed",
            },
        ),
        Dataset(
            name=_TICKERS,
            table=INSTRUMENTS,
            title="tickers and the filers behind them today",
            mapping={"symbol": "ticker", "instrument_id": "cik_str", "name": "title"},
        ),
    ),
    quotas=(Quota(requests=9, seconds=1.0),),  # ten are allowed; the tenth is left for the person at the browser
    licence="public domain (US government work)",
    documentation="https://www.sec.gov/search-filings/edgar-application-programming-interfaces",
    contact_needed=True,
    biases=(
        Bias(
            name="today's tickers", direction="filers whose ticker is gone are not found by symbol: flatters, those that died are missing"
        ),
        Bias(name="as tagged", direction="units and signs are the filer's own and sometimes wrong by a factor of a thousand"),
    ),
)


class _Ticker(msgspec.Struct, frozen=True):
    cik_str: int
    ticker: str
    title: str


class _Fact(msgspec.Struct, frozen=True):
    end: date
    val: float
    accn: str
    form: str
    filed: date
    fy: int | None
    fp: str | None
    start: date | None = None


class _Concept(msgspec.Struct, frozen=True):
    units: dict[str, list[_Fact]]


class _Company(msgspec.Struct, frozen=True):
    cik: int
    entityName: str  # noqa: N815 - the vendor's spelling
    facts: dict[str, dict[str, _Concept]]


class SecEdgar:
    """Tickers first, then one file a company."""

    def __init__(self, settings: VendorSettings) -> None:
        self._settings = settings

    @property
    def facts(self) -> VendorFacts:
        """Constant."""
        return FACTS

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """The ticker list, and for fundamentals a file for each symbol; raises DataInvalid naming a symbol nobody files under."""
        tickers = client.get(Ask(dataset=_TICKERS, base="www", path="/files/company_tickers.json"), _tickers)
        if dataset == _TICKERS:
            return (tickers.payload,)
        ciks = {_symbol(ticker): ticker.cik_str for ticker in tickers.value}
        unknown = [name for name in scope.names if name not in ciks]
        if unknown:
            raise DataInvalid(
                f"{NAME}: no filer has the symbol {', '.join(unknown)}", mend="correct vendors.sec_edgar.names in config/sources.yaml"
            )
        asks = [Ask(dataset=_FACTS, path=f"/api/xbrl/companyfacts/CIK{ciks[name]:010d}.json") for name in scope.names]
        return (tickers.payload, *(client.get(ask, _company).payload for ask in asks))

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """Facts known at the end of their filing day, or the ticker list as it stood when it was fetched."""
        listed = [payload for payload in payloads if payload.dataset == _TICKERS]
        if dataset == _TICKERS:
            return table_rows(INSTRUMENTS, [record for payload in listed for record in _instruments(payload)], recorded_at)
        symbols: dict[int, str] = {}
        for ticker in (ticker for payload in listed for ticker in _tickers(payload)):
            symbols.setdefault(ticker.cik_str, _symbol(ticker))  # the list is ordered by size: the first class stands for the company
        stated = [record for payload in payloads if payload.dataset == _FACTS for record in _facts(payload, symbols)]
        # A filing may state a fact twice, rounded differently: the last stands.
        unique = {tuple(record[name] for name in FUNDAMENTALS.key): record for record in stated}
        return table_rows(FUNDAMENTALS, list(unique.values()), recorded_at)


def _symbol(ticker: _Ticker) -> str:
    """Classes of shares are spelt BRK-B here and BRK.B by exchanges and brokers."""
    return ticker.ticker.upper().replace("-", ".")


def _tickers(payload: RawPayload) -> list[_Ticker]:
    found = list(json_of(payload, dict[str, _Ticker]).values())
    if not found:
        raise DataInvalid(f"{payload.origin}: no tickers")
    return found


def _company(payload: RawPayload) -> _Company:
    company = json_of(payload, _Company)
    asked = payload.origin.rsplit("/CIK", 1)[-1].removesuffix(".json")
    if f"{company.cik:010d}" != asked:
        raise DataInvalid(f"{payload.origin}: the field `cik` is {company.cik}: another company than {asked} was served")
    return company


def _instruments(payload: RawPayload) -> Iterator[dict[str, object]]:
    for row, ticker in enumerate(_tickers(payload), start=1):
        yield {
            "instrument_id": f"CIK{ticker.cik_str:010d}",
            "symbol": _symbol(ticker),
            "name": ticker.title,
            "ts": payload.retrieved_at,
            "known_at": payload.retrieved_at,
            "known_at_basis": KnownAtBasis.OBSERVED.value,
            "source": NAME,
            "raw_sha256": payload.sha256,
            "source_row": row,
        }


def _stated(company: _Company) -> Iterator[tuple[str, str, str, _Fact]]:
    """Taxonomy, concept, unit and fact, in the file's order."""
    for taxonomy, concepts in company.facts.items():
        for concept, stated in concepts.items():
            for unit, facts in stated.units.items():
                for fact in facts:
                    yield taxonomy, concept, unit, fact


def _facts(payload: RawPayload, symbols: dict[int, str]) -> Iterator[dict[str, object]]:
    company = _company(payload)
    for row, (taxonomy, concept, unit, fact) in enumerate(_stated(company), start=1):
        if not math.isfinite(fact.val):
            raise DataInvalid(f"{payload.origin}: row {row}, field `val` of {concept}: {fact.val} is no number")
        yield {
            "symbol": symbols.get(company.cik, f"CIK{company.cik:010d}"),
            "cik": company.cik,
            "entity": company.entityName,
            "taxonomy": taxonomy,
            "concept": concept,
            "unit": unit,
            "period_start": fact.start,
            "period_end": fact.end,
            "ts": end_of(fact.end),
            "known_at": at(fact.filed, _LAST_ACCEPTED),
            "known_at_basis": KnownAtBasis.VENDOR.value,
            "value": fact.val,
            "fiscal_year": fact.fy,
            "fiscal_period": fact.fp,
            "form": fact.form,
            "filed": fact.filed,
            "accession": fact.accn,
            "source": NAME,
            "raw_sha256": payload.sha256,
            "source_row": row,
        }
