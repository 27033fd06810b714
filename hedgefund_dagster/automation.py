"""When things run: on exchange sessions, half days included. Shared by the slices' own automation.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import numpy as np

from hedgefund_core.errors import DataInvalid
from hedgefund_dagster.partitions import whole_range_tags
from hedgefund_dagster.sources.calendars import exchange_closes
from hedgefund_dagster.sources.source import SourceFacts

AFTER_CLOSE = timedelta(minutes=30)
"""Bars are known 15 minutes after the close; another 15 for a late vendor."""
_TICK = timedelta(minutes=15)
_LONGEST_PAUSE = np.timedelta64(15, "D")
EXCHANGE = "XNYS"
_CRON = "*/15 9-23 * * 1-5"
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=5), warn_window=timedelta(days=4, hours=12))
"""What is materialized after each session is never older than the longest weekend; which session lacks what, the check says."""
RequestOfSession = Callable[[str], dg.RunRequest | dg.SkipReason]


def session_due(moment: datetime, *, after_close: timedelta = AFTER_CLOSE, exchange: str = EXCHANGE) -> date | None:
    """The session whose close lies ``after_close`` before this tick, or None: one tick of a session says yes, on holidays none."""
    day = np.datetime64(moment.astimezone(UTC).date())
    sessions, closes = exchange_closes(exchange, day, day)
    for session, close in zip(sessions, closes, strict=True):
        due = close.astype("datetime64[us]").item().replace(tzinfo=UTC) + after_close
        if due <= moment.astimezone(UTC) < due + _TICK:
            return date.fromisoformat(str(session))
    return None


def last_session(moment: datetime, *, after_close: timedelta = AFTER_CLOSE, exchange: str = EXCHANGE) -> tuple[date, datetime]:
    """The latest session that closed at least ``after_close`` ago, and its UTC close: half days, holidays and weekends right."""
    day = np.datetime64(moment.astimezone(UTC).date())
    sessions, closes = exchange_closes(exchange, day - _LONGEST_PAUSE, day)
    due = closes <= np.datetime64((moment.astimezone(UTC) - after_close).replace(tzinfo=None), "us")
    session, close = sessions[due][-1], closes[due][-1]
    return date.fromisoformat(str(session)), close.astype("datetime64[us]").item().replace(tzinfo=UTC)


def session_schedule(
    name: str, job: str, request: RequestOfSession, *, description: str, after_close: timedelta = AFTER_CLOSE
) -> dg.ScheduleDefinition:
    """A schedule that runs a job once a session, so long after its close; stopped until a person turns it on."""
    ago = f"{after_close.total_seconds() / 60:.0f} minutes ago"

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        session = session_due(context.scheduled_execution_time, after_close=after_close)
        return dg.SkipReason(f"no session closed {ago}") if session is None else request(session.isoformat())

    return dg.ScheduleDefinition(
        name=name,
        job_name=job,
        cron_schedule=_CRON,
        execution_timezone="America/New_York",
        execution_fn=evaluate,
        description=description,
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )


def research_request(facts: SourceFacts, keys: list[dg.AssetKey], *, run_key: str) -> dg.RunRequest:
    """A run of a source's assets over all its partitions at once."""
    return dg.RunRequest(run_key=run_key, asset_selection=keys, tags={"source": facts.name, **whole_range_tags(facts.partitioning)})


def refuse_failed_checks(instance: dg.DagsterInstance, run_id: str) -> None:
    """Raise DataInvalid naming the checks of a run that failed, with what they found; a warning is none."""
    events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    evaluated = [event.dagster_event.asset_check_evaluation_data for event in events if event.dagster_event is not None]
    failed = [e for e in evaluated if not e.passed and e.severity is dg.AssetCheckSeverity.ERROR]
    if failed:
        words = "; ".join(f"{e.asset_key.to_user_string()} {e.check_name}: {e.description}" for e in failed[:5])
        message = f"checks failed: {words}"
        raise DataInvalid(message, mend="look at the checks in Dagster, or at data/processed/quarantine/bars.parquet")
