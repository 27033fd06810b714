"""The bench every vendor's tests stand on: an adapter, its client, made-up time, and the server in the vendor's place."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from hedgefund_core.configuration import SourcesSettings, VendorSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_dagster.sources import open_vendor
from hedgefund_dagster.sources.http.access import access_of
from hedgefund_dagster.sources.http.client import HttpClient
from hedgefund_dagster.sources.http.pulse import Pulse
from hedgefund_dagster.sources.http.transport import Bounds
from tests.contract.vendors.alpaca_cases import ALPACA_CASES
from tests.contract.vendors.cases import CASES as OTHER_CASES
from tests.contract.vendors.cases import Case, Change
from tests.contract.vendors.loopback import Loopback, serving
from tests.contract.vendors.price_cases import PRICE_CASES

CASES = OTHER_CASES + PRICE_CASES + ALPACA_CASES
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
BODY_LIMIT = 2_000_000


@dataclass
class FakeTime:
    """Time that passes only by waiting."""

    now: datetime = NOW
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += timedelta(seconds=seconds)

    def pulse(self) -> Pulse:
        return Pulse(now=lambda: self.now, sleep=self.sleep, chance=lambda: 0.5, elapsed=time.perf_counter)


@dataclass
class Bench:
    """An adapter, its client and the server it talks to."""

    case: Case
    server: Loopback
    folder: Path
    clock: FakeTime

    @property
    def settings(self) -> VendorSettings:
        return VendorSettings(base_url=self.server.url, **self.case.settings)

    @property
    def vendor(self):
        return open_vendor(self.case.vendor, SourcesSettings(vendors={self.case.vendor: self.settings}))

    def client(self, read_seconds: float = 5.0) -> HttpClient:
        access = access_of(self.vendor.facts, self.settings, self.case.env)
        bounds = Bounds(read_seconds=read_seconds, max_body_bytes=BODY_LIMIT)
        return HttpClient(self.vendor.facts, access, self.folder, self.clock.pulse(), bounds=bounds)

    def fetch(self, **options):
        return self.vendor.fetch(self.case.dataset, self.case.scope, self.client(**options))

    def rows(self, payloads=None):
        return self.vendor.rows(self.case.dataset, self.fetch() if payloads is None else payloads, NOW)

    @property
    def table(self):
        return self.vendor.facts.dataset(self.case.dataset).table


def bench_of(vendor: str, dataset: str, server: Loopback, folder: Path) -> Bench:
    case = next(case for case in CASES if (case.vendor, case.dataset) == (vendor, dataset))
    return Bench(case=case, server=server, folder=folder, clock=FakeTime())


def changes(kind: str) -> list:
    return [
        pytest.param(case, change, id=f"{case.name}-{change.named}-{i}") for case in CASES for i, change in enumerate(getattr(case, kind))
    ]


def changed(case: Case, change: Change, tmp_path: Path) -> str:
    """The complaint about a payload in which some text is replaced."""
    with serving(case.vendor) as server:
        bench = Bench(case=case, server=server, folder=tmp_path, clock=FakeTime())
        assert any(change.old.encode() in exchange.body for exchange in server.exchanges), "the fixture has no such text"
        server.edit = lambda body: body.replace(change.old.encode(), change.new.encode())
        with pytest.raises(DataInvalid) as caught:
            bench.rows()
        assert server.url in caught.value.message, "the address is named"
        return caught.value.message


def shown(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.isoformat() if isinstance(value, date) else value


def changed_by(edit):
    """An edit of the answer as an object."""

    def applied(body: bytes) -> bytes:
        content = json.loads(body)
        edit(content)
        return json.dumps(content).encode()

    return applied
