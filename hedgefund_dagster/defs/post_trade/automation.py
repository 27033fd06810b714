"""Post-trade runs when a journal has come to rest: the executor ended, or paused."""

from __future__ import annotations

import dagster as dg
import msgspec

from hedgefund_dagster.defs.post_trade.assets import ASSETS
from hedgefund_dagster.resources.journal_reader import JournalReaderResource

JOB = "post_trade"

post_trade = dg.define_asset_job(
    JOB,
    selection=dg.AssetSelection.groups("post_trade"),
    description="Frames, fills, marks and the report of one account (run configuration `account`; empty = the last used).",
    tags={"team": "trading"},
)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Cursor: last frame seen at the tick before, and last frame reported on."""

    seen: dict[str, int] = {}
    reported: dict[str, int] = {}


def _journal_closed(context: dg.SensorEvaluationContext, journals: JournalReaderResource) -> dg.SensorResult | dg.SkipReason:
    """A journal that grew since its last report and not since the last tick is at rest."""
    reader = journals.open()
    before = msgspec.json.decode(context.cursor, type=Seen) if context.cursor else Seen()
    heads = {account: reader.last_seq(account) for account in reader.accounts()}
    rested = [name for name, seq in heads.items() if seq > before.reported.get(name, 0) and before.seen.get(name) == seq]
    after = Seen(seen=heads, reported={**before.reported, **{name: heads[name] for name in rested}})
    requests = [_request(name, heads[name]) for name in rested]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason("no journal has come to rest since its last report"),
        cursor=msgspec.json.encode(after).decode(),
    )


def _request(account: str, seq: int) -> dg.RunRequest:
    ops = {asset.op.name: {"config": {"account": account}} for asset in ASSETS}
    return dg.RunRequest(run_key=f"{account}-{seq}", run_config={"ops": ops}, tags={"account": account})


journal_closed = dg.SensorDefinition(
    name="journal_closed",
    evaluation_fn=_journal_closed,
    job_name=JOB,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="An account's journal that came to rest starts the post-trade report of that account.",
)
