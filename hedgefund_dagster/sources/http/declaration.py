"""What a vendor declares of itself before anything is asked of it, and the protocol its adapter keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import Table
from hedgefund_dagster.sources.source import Bias, Partitioning, RawPayload

if TYPE_CHECKING:
    import pyarrow as pa

    from hedgefund_dagster.sources.http.client import HttpClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """At most so many requests in any window of so many seconds, for all processes of this machine together."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRule:
    """Where a secret comes from (an environment variable) and where it goes: a query parameter or a header, never a log."""

    variable: str
    parameter: str = ""
    header: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One data set of a vendor and the canonical table it lands in.

    ``mapping``: canonical column -> the vendor's own field. ``first``: the first day it can have; ``names_needed``: it is asked for
    by symbol or series, and without any there is nothing to ask. ``stored_as``: the source its rows are stored under, where one vendor
    has several of one kind that must not mix (empty: the vendor). ``partitioning``: how its asset is cut. ``names_at_once``: how many
    names one request can ask for; a load is asked for in such steps.
    """

    name: str
    table: Table
    title: str
    mapping: Mapping[str, str]
    price_kind: PriceKind | None = None
    first: date = date(1990, 1, 1)
    names_needed: bool = False
    stored_as: str = ""
    partitioning: Partitioning = Partitioning.NONE
    names_at_once: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorFacts:
    """All that is known of a vendor without a request.

    ``base_urls`` by name of the host's role; the role ``""`` is the main one. An override in the configuration replaces
    all of them, so that one loopback server can stand for the vendor. ``contact_needed``: the vendor refuses requests
    whose user agent names nobody. ``base_variables`` by role: environment variables that replace an address.
    """

    name: str
    title: str
    base_urls: Mapping[str, str]
    datasets: tuple[Dataset, ...]
    quotas: tuple[Quota, ...]
    licence: str
    documentation: str
    biases: tuple[Bias, ...] = ()
    keys: tuple[KeyRule, ...] = ()
    contact_needed: bool = False
    base_variables: Mapping[str, str] = field(default_factory=dict)
    max_body_bytes: int = 64 * 1024 * 1024

    def dataset(self, name: str) -> Dataset:
        """The data set of that name."""
        return next(dataset for dataset in self.datasets if dataset.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is wanted of a data set: names (symbols, series) and days, both inclusive.

    ``stored_through``: the last vintage that is stored of a name; a vendor of vintages then asks for those after it, and a few before.
    """

    names: tuple[str, ...] = ()
    since: date
    until: date
    stored_through: Mapping[str, date] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How this machine reaches a vendor. Secrets are left out of every representation."""

    base_urls: Mapping[str, str]
    user_agent: str
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def scrub(self, text: str) -> str:
        """The text with every secret blotted out: vendors like to repeat the key in their error pages."""
        for secret in self.secrets.values():
            text = text.replace(secret, "***")
        return text


class Vendor(Protocol):
    """One file a vendor. ``fetch`` talks, ``rows`` is a function of the payloads alone: the lake can be rebuilt from raw."""

    @property
    def facts(self) -> VendorFacts:
        """What is known before asking."""

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """Payloads as they came, each checked by its content; raises DataUnavailable or DataInvalid."""

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """Rows of the data set's canonical table; raises DataInvalid naming address, row and field."""
