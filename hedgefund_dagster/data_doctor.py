"""How each data vendor stands: key, reachable, quota left, last success, lag, breaker, cache. Asks nobody unless told to (``--probe``)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from hedgefund_core import layout
from hedgefund_core.errors import ConfigError, DataInvalid, DataUnavailable, HedgefundError
from hedgefund_core.schemas import BARS
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.stores import bar_store, open_lake
from hedgefund_dagster.settings import Settings, config_folder, data_folder
from hedgefund_dagster.sources import VENDORS
from hedgefund_dagster.sources.http.access import access_of, missing_keys
from hedgefund_dagster.sources.http.breaker import Breaker
from hedgefund_dagster.sources.http.cache import read_totals
from hedgefund_dagster.sources.http.declaration import Dataset, VendorFacts
from hedgefund_dagster.sources.http.faults import Transient
from hedgefund_dagster.sources.http.pulse import Pulse, real_pulse
from hedgefund_dagster.sources.http.quota import SharedQuota

NOT_ASKED = "not asked"
_DAY_SECONDS = 86_400.0


class SourceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor. Times are RFC 3339; ``lag_days`` is the age of the newest thing stored, null if nothing is."""

    source: str
    key: str
    reachable: str
    quota_left: dict[str, int]
    last_success: str | None
    lag_days: float | None
    breaker: str
    cache: str
    trouble: str


def health_of(name: str, settings: Settings, pulse: Pulse, *, probe: bool) -> SourceHealth:
    """What is written down about a vendor and, if asked for, whether its first host answers (without key and quota)."""
    facts = settings.vendor(name).facts
    folder = data_folder(settings.env) / layout.vendor_folder(name)
    breaker = Breaker(name, folder / "breaker.json", pulse)
    trouble = ""
    try:
        access_of(facts, settings.vendor_settings(name), settings.env)
    except ConfigError as error:
        trouble = error.message
    state = breaker.state
    return SourceHealth(
        source=name,
        key=_key(facts, settings.env),
        reachable=_probe(facts, settings, pulse) if probe else NOT_ASKED,
        quota_left=SharedQuota(name, facts.quotas, folder / "quota.json", pulse).left(),
        last_success=_moment(state.last_success),
        lag_days=_lag(facts, open_lake(data_folder(settings.env), settings.sources.store, settings.env), pulse.now()),
        breaker=breaker.status.value,
        cache="; ".join(f"{layer} {counts.spelt()}" for layer, counts in read_totals(folder / "cache.json").items()),
        trouble=trouble or state.last_reason,
    )


def _key(facts: VendorFacts, env: Mapping[str, str]) -> str:
    missing = missing_keys(facts, env)
    return f"missing: {', '.join(missing)}" if missing else ("present" if facts.keys else "not needed")


def _moment(seconds: float) -> str | None:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else None


def _lag(facts: VendorFacts, lake: Lake, now: datetime) -> float | None:
    newest = [moment for dataset in facts.datasets if (moment := _newest(dataset, dataset.stored_as or facts.name, lake)) is not None]
    return round((now - max(newest)).total_seconds() / _DAY_SECONDS, 2) if newest else None


def _newest(dataset: Dataset, source: str, lake: Lake) -> datetime | None:
    """When the newest row of a data set happened."""
    if dataset.table is BARS:
        return bar_store(lake).newest(source)
    if not lake.versions.has(dataset.table, source):
        return None
    query = f"SELECT epoch_us(max(ts)) AS newest FROM {dataset.table.name} WHERE source = '{source}'"  # noqa: S608 - names are ours
    found = lake.sql(query).column("newest").to_pylist()[0]
    return None if found is None else datetime.fromtimestamp(found / 1_000_000, UTC)


def _probe(facts: VendorFacts, settings: Settings, pulse: Pulse) -> str:
    """Any answer below 500 is one: the host is there."""
    from hedgefund_dagster.sources.http.transport import Bounds, Transport

    base = settings.vendor_settings(facts.name).base_url or settings.env.get(facts.base_variables.get("", ""), "") or facts.base_urls[""]
    try:
        answer = Transport(facts.name, Bounds(read_seconds=5.0, whole_seconds=10.0), pulse).get(f"{base.rstrip('/')}/", {})
    except Transient as fault:
        return f"no: {fault.reason}"
    except (DataUnavailable, DataInvalid) as error:
        # Something answered, if not politely: a redirect to the vendor's front page is what a bare host mostly says.
        return f"yes ({error.message})"
    return f"yes (status {answer.status})" if answer.status < 500 else f"no: status {answer.status}"


def table(rows: Sequence[SourceHealth]) -> str:
    """A line a vendor."""
    head = ("source", "key", "reachable", "quota left", "last success", "lag", "breaker", "cache hits", "trouble")
    cells = [head] + [
        (
            row.source,
            row.key,
            row.reachable,
            ", ".join(f"{left} of {window}" for window, left in row.quota_left.items()),
            row.last_success or "never",
            "-" if row.lag_days is None else f"{row.lag_days:g} d",
            row.breaker,
            row.cache or "-",
            row.trouble,
        )
        for row in rows
    ]
    widths = [max(len(line[place]) for line in cells) for place in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print how each vendor stands; 0 unless the configuration cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m hedgefund_dagster.data_doctor", description=__doc__)
    parser.add_argument("--probe", action="store_true", help="ask each vendor's host whether it answers")
    parser.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    wanted = parser.parse_args(arguments)
    settings = Settings(folder=config_folder(os.environ), env=dict(os.environ))
    try:
        rows = [health_of(name, settings, real_pulse(ClockResource().now), probe=wanted.probe) for name in VENDORS]
    except HedgefundError as error:
        sys.stderr.write(f"{error.message}\n{error.mend}\n")
        return error.exit_code
    sys.stdout.write(f"{msgspec.json.encode(rows).decode() if wanted.json else table(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
