"""The user's other tables: an asset a configured file (`files_tables` of config/sources.yaml), and the job that merges small files."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
import os

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from hedgefund_core.configuration import FileTable
from hedgefund_core.errors import ConfigError
from hedgefund_core.schemas import Table
from hedgefund_dagster.metadata import OWNERS
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import Lake, LakeResource
from hedgefund_dagster.resources.lake_compaction import Compacted, compact
from hedgefund_dagster.settings import Settings, SettingsResource, config_folder
from hedgefund_dagster.sources.file_tables import FileRows, file_rows, payload_of, table_of

GROUP, JOB = "reference", "reference_data"


def configured() -> dict[str, FileTable]:
    """File tables as the configuration names them when the graph is built; a broken configuration has none, and every run says why."""
    try:
        tables = Settings(folder=config_folder(os.environ), env=dict(os.environ)).sources.files_tables
        for name, settings in tables.items():
            table_of(name, settings)
    except ConfigError as error:
        dg.get_dagster_logger().warning("no assets of files_tables: %s", error.message)
        return {}
    return tables


def reference_assets(tables: dict[str, FileTable]) -> list[dg.AssetsDefinition]:
    """An asset for each file table."""
    return [_file_table(name, table_of(name, settings)) for name, settings in tables.items()]


def _file_table(name: str, table: Table) -> dg.AssetsDefinition:
    @dg.asset(
        key=[name, table.name],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"file", "parquet"},
        tags={"source": name, "table": table.name},
        code_version="1",
        description=f"Your file as the table {table.name}: {table.meaning}.",
    )
    def file_table(
        context: dg.AssetExecutionContext, lake: LakeResource, clock: ClockResource, settings: SettingsResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        found = load(lake.open(), name, settings.open().sources.files_tables, clock, run_id=context.run.run_id)
        return dg.MaterializeResult(metadata=found)

    return file_table


def load(store: Lake, name: str, tables: dict[str, FileTable], clock: ClockResource, *, run_id: str) -> dict[str, dg.MetadataValue]:
    """Keep the file, read it, store what is new, hold back what is bad; returns what the UI shows of it."""
    if name not in tables:
        message = f"sources.yaml: files_tables.{name} is not configured (any more)"
        raise ConfigError(message, mend="restore it, or reload the code location")
    now = clock.now()
    payload = payload_of(name, tables[name], now)
    record = store.raw.put(payload)
    read = file_rows(name, tables[name], payload, now)
    if read.findings.num_rows:
        store.quarantine.add(read.findings)
    table = table_of(name, tables[name])
    appended = store.versions.append(table, name, read.rows, run_id=run_id)
    return {
        "file": dg.MetadataValue.text(f"{record.origin}, {record.size} bytes, sha256 {record.sha256[:16]}"),
        "rows_in_file": dg.MetadataValue.int(read.total),
        "dagster/row_count": dg.MetadataValue.int(read.rows.num_rows),
        "rows_added": dg.MetadataValue.int(appended.added),
        "rows_unchanged": dg.MetadataValue.int(appended.unchanged),
        "rows_held_back": dg.MetadataValue.int(len(pc.unique(read.findings.column("reason")))),
        "held_back": _reasons(read),
        **_range(read.rows),
    }


def _reasons(read: FileRows) -> dg.MetadataValue:
    lines = [f"- {reason}" for reason in read.findings.column("reason").to_pylist()[:20]]
    return dg.MetadataValue.md("\n".join(lines) or "none")


def _range(rows: pa.Table) -> dict[str, dg.MetadataValue]:
    if rows.num_rows == 0:
        return {}
    span = pc.min_max(rows.column("ts")).as_py()
    return {"first": dg.MetadataValue.text(span["min"].isoformat()), "last": dg.MetadataValue.text(span["max"].isoformat())}


reference_data = dg.define_asset_job(
    JOB, selection=dg.AssetSelection.groups(GROUP), description="Every configured file table.", tags={"team": "research"}
)


@dg.op(description="Merge the many small files of each partition into one; every version and the history of writes stay.")
def compact_lake(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """What it did stands in the op's output metadata."""
    done = compact(lake.open().root)
    context.add_output_metadata({"folders": len(done), "done": dg.MetadataValue.md(compaction_table(done))})


def compaction_table(done: list[Compacted]) -> str:
    """What a compaction did, a line a folder."""
    lines = [f"| {d.folder} | {d.files_before} | {d.files_after} | {d.rows} | {d.bytes_before} | {d.bytes_after} |" for d in done]
    return "\n".join(["| folder | files before | after | rows | bytes before | after |", "|---|---|---|---|---|---|", *lines])


@dg.job(description="Compaction of the lake.", tags={"team": "research"})
def compaction() -> None:
    """One op: the lake is one."""
    compact_lake()


every_night = dg.ScheduleDefinition(
    name="compact_every_night",
    job=compaction,
    cron_schedule="30 3 * * *",
    execution_timezone="America/New_York",
    description="Merges small files while nobody trades. Stopped until you turn it on.",
)
