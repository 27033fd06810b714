"""Data that should be there and is not: what a session that is over lacks, who is asked again, and the check that says so."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg
import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from hedgefund_core.errors import DataUnavailable, HedgefundError
from hedgefund_core.schemas import BARS
from hedgefund_dagster.automation import last_session, session_schedule
from hedgefund_dagster.defs.ingest.automation import SERVED_JOB, keys_of, served_research
from hedgefund_dagster.defs.ingest.served import BARS_KEY, order_of
from hedgefund_dagster.defs.ingest.vendors import PRICES_JOB, reachable, vendor_facts, vendor_prices
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import Lake, LakeResource
from hedgefund_dagster.settings import Settings, SettingsResource
from hedgefund_dagster.sources.served import NAME as SERVED
from hedgefund_dagster.sources.source import Partitioning

MOST_REQUESTS = 6
SILENT_SESSIONS = 5
"""A name without a bar for so many sessions is gone, not late."""
_PAUSE_SECONDS, _LONG_MINUTES = 900, 180.0
_MEMORY = timedelta(days=21)
CHECK = "no_session_is_missing"
CHECK_JOB = "freshness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Bars somebody relies on: their asset, the source they are stored under, and the names they are of."""

    key: dg.AssetKey
    source: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether the last session that is over is complete."""

    session: date
    minutes: float
    late: tuple[str, ...]
    silent: tuple[str, ...]
    names: int

    @property
    def words(self) -> str:
        """In words."""
        gone = f"; no bar for {SILENT_SESSIONS} sessions and taken for gone: {_some(self.silent)}" if self.silent else ""
        if not self.late:
            return f"session {self.session} is complete{gone}"
        count = f"{len(self.late)} of {self.names} names have no bar"
        ago = f"{self.minutes:.0f} minutes" if self.minutes <= _LONG_MINUTES else f"{self.minutes / 60.0:.0f} hours"
        return f"session {self.session}, closed {ago} ago: {count}: {_some(self.late)}{gone}"


class _Cursor(msgspec.Struct, kw_only=True):
    """How often each asset was asked for again, for one session."""

    session: str = ""
    requests: dict[str, int] = {}


def watched(opened: Settings, instance: dg.DagsterInstance) -> list[Watched]:
    """The daily bars that were ever materialized and can be asked for; those served, too where the universe is theirs."""
    ready = {*reachable(opened, daily=True)}
    found = [
        Watched(key=key, source=dataset.stored_as or facts.name, names=opened.vendor_settings(facts.name).names)
        for facts in vendor_facts()
        for dataset in facts.datasets
        if dataset.table is BARS and dataset.partitioning is Partitioning.DAILY
        if (key := dg.AssetKey([facts.name, dataset.name])) in ready and instance.get_latest_materialization_event(key) is not None
    ]
    if opened.universe.source == SERVED or instance.get_latest_materialization_event(BARS_KEY) is not None:
        orders = (opened.vendor_settings(facts.name).names for facts, _ in order_of("bars", opened).values())
        found.append(Watched(key=BARS_KEY, source=SERVED, names=next((names for names in orders if names), ())))
    return found


def standing(lake: Lake, watch: Watched, now: datetime, after_close: timedelta) -> Standing:
    """What the last session that closed so long ago lacks."""
    session, closed = last_session(now, after_close=after_close)
    days = _days_of(lake, watch.source, session - _MEMORY)
    recent = sorted({day for seen in days.values() for day in seen if day <= session} - {session})[-SILENT_SESSIONS:]
    missing = [name for name in watch.names if session not in days.get(name, set())]
    silent = [name for name in missing if recent and len(recent) == SILENT_SESSIONS and not days.get(name, set()) & set(recent)]
    return Standing(
        session=session,
        minutes=(now - closed).total_seconds() / 60.0,
        late=tuple(name for name in missing if name not in silent),
        silent=tuple(silent),
        names=len(watch.names),
    )


def _days_of(lake: Lake, source: str, since: date) -> dict[str, set[date]]:
    """Sessions each symbol has a bar of, from a day on."""
    try:
        rows = lake.read_bars(source)
    except DataUnavailable:
        return {}
    rows = rows.filter(pc.greater_equal(rows.column("session"), pa.scalar(since, pa.date32())))
    days: dict[str, set[date]] = {}
    for symbol, session in zip(rows.column("symbol").to_pylist(), rows.column("session").to_pylist(), strict=True):
        days.setdefault(symbol, set()).add(session)
    return days


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _late_data(
    context: dg.SensorEvaluationContext, lake: LakeResource, clock: ClockResource, settings: SettingsResource
) -> dg.SensorResult | dg.SkipReason:
    """Ask again for the names a session lacks, a few times; then say what is missing and leave it to a person."""
    opened, now = settings.open(), clock.now()
    try:
        watches, after = watched(opened, context.instance), timedelta(minutes=opened.sources.late_after_minutes)
        standings = [(watch, standing(lake.open(), watch, now, after)) for watch in watches]
    except HedgefundError as error:
        return dg.SkipReason(error.message)
    cursor = msgspec.json.decode(context.cursor, type=_Cursor) if context.cursor else _Cursor()
    session = str(last_session(now, after_close=after)[0])
    cursor = cursor if cursor.session == session else _Cursor(session=session, requests={})
    requests, given_up = [], []
    for watch, found in standings:
        asked = cursor.requests.get(watch.key.to_user_string(), 0)
        if found.late and asked < MOST_REQUESTS:
            requests.append(_request(watch, found, asked + 1))
            cursor.requests[watch.key.to_user_string()] = asked + 1
        elif found.late:
            given_up.append(
                f"{watch.key.to_user_string()}: {found.words}; asked for {asked} times: make data-doctor tells how its vendor stands"
            )
    reason = "; ".join(given_up) or ("nothing is late" if standings else "no daily prices are watched: none was ever materialized")
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason(reason),
        cursor=msgspec.json.encode(cursor).decode(),
    )


def _request(watch: Watched, found: Standing, number: int) -> dg.RunRequest:
    """A run of that session for the names it lacks; what is served goes on to features."""
    served = watch.key == BARS_KEY
    keys = keys_of(SERVED) if served else [watch.key]
    asking = [key for key in keys if key.path[-1] in ("bars", "corporate_actions")] if served else keys
    config = {"ops": {"__".join(key.path): {"config": {"names": list(found.late)}} for key in asking}}
    return dg.RunRequest(
        run_key=f"late-{watch.key.to_user_string()}-{found.session}-{number}",
        job_name=SERVED_JOB if served else PRICES_JOB,
        partition_key=str(found.session),
        asset_selection=keys,
        run_config=config,
        tags={"late": found.words[:200]},
    )


late_data = dg.SensorDefinition(
    name="late_data",
    evaluation_fn=_late_data,
    jobs=[vendor_prices, served_research],
    minimum_interval_seconds=_PAUSE_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Asks again for the names the last session lacks `late_after_minutes` after its close (config/sources.yaml; half days "
    f"right), at most {MOST_REQUESTS} times. Asks the network: stopped until you turn it on.",
)


def freshness_checks() -> list[dg.AssetChecksDefinition]:
    """A check for each asset of daily bars that are asked for by day."""
    daily = [
        dg.AssetKey([f.name, d.name])
        for f in vendor_facts()
        for d in f.datasets
        if d.table is BARS and d.partitioning is Partitioning.DAILY
    ]
    return [_freshness(key) for key in (*daily, BARS_KEY)]


def _freshness(key: dg.AssetKey) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=key,
        name=CHECK,
        description="The last session that is over has a bar of every name (half days right); a name gone for days is told apart.",
    )
    def no_session_is_missing(
        context: dg.AssetCheckExecutionContext, lake: LakeResource, clock: ClockResource, settings: SettingsResource
    ) -> dg.AssetCheckResult:
        opened = settings.open()
        watch = next((watch for watch in watched(opened, context.instance) if watch.key == key), None)
        if watch is None:
            return dg.AssetCheckResult(passed=True, description="nobody asks for it: no key, no names, or never materialized")
        found = standing(lake.open(), watch, clock.now(), timedelta(minutes=opened.sources.late_after_minutes))
        return dg.AssetCheckResult(
            passed=not found.late,
            severity=dg.AssetCheckSeverity.WARN,
            description=found.words,
            metadata={"session": str(found.session), "late": len(found.late), "silent": len(found.silent), "names": found.names},
        )

    return no_session_is_missing


freshness = dg.define_asset_job(
    CHECK_JOB,
    selection=dg.AssetSelection.checks(*(key for check in freshness_checks() for key in check.check_keys)),
    description="Whether the last session is complete, of every asset of daily prices. Asks nobody.",
    tags={"team": "research"},
)


def _check_after_session(session: str) -> dg.RunRequest:
    return dg.RunRequest(run_key=f"{CHECK_JOB}-{session}")


freshness_after_session = session_schedule(
    "freshness_after_session",
    CHECK_JOB,
    _check_after_session,
    after_close=timedelta(minutes=120),
    description="Two hours after the exchange's close: is the session complete? Asks nobody.",
)
