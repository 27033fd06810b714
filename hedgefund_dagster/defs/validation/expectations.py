"""Run a table's suite with Great Expectations; the outcome becomes a check result, and a page of the Data Docs."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from hedgefund_core.schemas import ColumnType, Table
from hedgefund_dagster.data_docs import keep_outcome, page_address
from hedgefund_dagster.defs.validation.suites import suite_of
from hedgefund_dagster.settings import data_folder

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.datasource.fluent.pandas_datasource import DataFrameAsset


def check_result(table: Table, rows: pa.Table, source: str) -> dg.AssetCheckResult:
    """Run a table's suite; the severity is that of the worst failed expectation."""
    from great_expectations.expectations.metadata_types import FailureSeverity

    outcome = validated(table, rows)
    keep_outcome(data_folder(os.environ), f"{source}.{table.name}", outcome)
    failed = [result for result in outcome.results if not result.success]
    critical = any(FailureSeverity(result.expectation_config.severity) is FailureSeverity.CRITICAL for result in failed)
    lines = [_describe(result.expectation_config.type, result.expectation_config.kwargs, result.result) for result in failed]
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if critical or not failed else dg.AssetCheckSeverity.WARN,
        description="; ".join(lines) or f"{len(outcome.results)} expectations hold",
        metadata={
            "expectations": len(outcome.results),
            "rows": rows.num_rows,
            "failed": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines) or "none"),
            "data_docs": dg.MetadataValue.url(page_address(f"{source}.{table.name}", os.environ)),
        },
    )


def validated(table: Table, rows: pa.Table) -> ExpectationSuiteValidationResult:
    """The outcome of a table's suite on rows."""
    from great_expectations.core.expectation_suite import ExpectationSuite

    suite = ExpectationSuite(name=table.name, expectations=suite_of(table, rows))
    # Texts repeat: as categories they take a fiftieth of the memory.
    texts = [c.name for c in table.columns if c.type is ColumnType.TEXT and c.name in rows.column_names]
    frame = rows.to_pandas(categories=texts)
    return _batch(table.name).get_batch(batch_parameters={"dataframe": frame}).validate(suite)


@functools.cache
def _batch(name: str) -> BatchDefinition[DataFrameAsset]:
    """How a table of that name is given to Great Expectations, in one context a process: making one costs more than a suite."""
    import great_expectations as gx

    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context.data_sources.add_pandas(name=name).add_dataframe_asset(name=name).add_batch_definition_whole_dataframe("all")


def _describe(kind: str, arguments: dict[str, object], result: dict[str, object]) -> str:
    """One failed expectation in words: what, where, how many, an example."""
    place = ", ".join(str(arguments[key]) for key in ("column", "column_A", "column_B", "column_list") if key in arguments)
    count = result.get("unexpected_count", result.get("observed_value", ""))
    examples = result.get("partial_unexpected_list", [])
    shown = f", for instance {examples[0]}" if isinstance(examples, list) and examples else ""
    return f"{kind}({place}): {count}{shown}"
