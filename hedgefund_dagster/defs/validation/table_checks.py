"""A suite for every table a vendor or a reference file fills: the check of the asset that produces it."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa

from hedgefund_core.configuration import FileTable, SourcesSettings
from hedgefund_core.errors import DataUnavailable
from hedgefund_core.schemas import BARS, CORPORATE_ACTIONS, FUNDAMENTALS, Table
from hedgefund_dagster.defs.validation.expectations import check_result
from hedgefund_dagster.defs.validation.facts import facts_check
from hedgefund_dagster.resources.lake import Lake, LakeResource
from hedgefund_dagster.sources import VENDORS, open_vendor
from hedgefund_dagster.sources.file_tables import table_of
from hedgefund_dagster.sources.source import SourceFacts

CHECK = "great_expectations"


def vendor_checks() -> list[dg.AssetChecksDefinition]:
    """Suites of all data sets of all vendors, and the detector of unit errors where there are statements."""
    found = []
    for name in VENDORS:
        facts = open_vendor(name, SourcesSettings()).facts
        for dataset in facts.datasets:
            key, source = dg.AssetKey([facts.name, dataset.name]), dataset.stored_as or facts.name
            found.append(table_check(key, dataset.table, source))
            if dataset.table is FUNDAMENTALS:
                found.append(facts_check(key, source))
    return found


def reference_checks(tables: dict[str, FileTable]) -> list[dg.AssetChecksDefinition]:
    """Suites of the user's file tables, and the detector of unit errors where there are statements."""
    found = []
    for name, settings in tables.items():
        table = table_of(name, settings)
        key = dg.AssetKey([name, table.name])
        found.append(table_check(key, table, name))
        if table is FUNDAMENTALS:
            found.append(facts_check(key, name))
    return found


def action_checks(facts: SourceFacts) -> list[dg.AssetChecksDefinition]:
    """The suite of a source's derived corporate actions."""
    key = dg.AssetKey([facts.name, CORPORATE_ACTIONS.name])
    return [table_check(key, CORPORATE_ACTIONS, facts.name)] if facts.has_corporate_actions else []


def table_check(key: dg.AssetKey, table: Table, source: str) -> dg.AssetChecksDefinition:
    """The suite of a table as the check of its asset: an error where the table is wrong, a warning where rows are."""

    @dg.asset_check(
        asset=key, name=CHECK, description=f"The table {table.name} keeps its contract: {table.meaning}. Its page is in the Data Docs."
    )
    def great_expectations(lake: LakeResource) -> dg.AssetCheckResult:
        try:
            rows = stored_rows(lake.open(), table, source)
        except DataUnavailable as error:
            return dg.AssetCheckResult(passed=True, description=f"nothing to judge: {error.message}", metadata={"rows": 0})
        return check_result(table, rows, source)

    return great_expectations


def stored_rows(lake: Lake, table: Table, source: str) -> pa.Table:
    """What is stored of a table, each fact once, in its latest version."""
    if table is BARS:
        return lake.read_bars(source)
    return lake.versions.read(table, source) if table.identity else lake.read_table(table, source)
