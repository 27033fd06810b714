"""Great Expectations suites, one a table, built in code in an ephemeral context; results become asset check results."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from hedgefund_core.schemas import BARS, VALIDATED_BARS, ColumnType, Table

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

PRICES = ("open", "high", "low", "close")
_ROW_SEVERITY = {BARS.name: "warning", VALIDATED_BARS.name: "critical"}
"""A bad row of the raw bars is a warning, because it goes to quarantine (which then counts whether the table is bad); in
validated bars it is an error."""


def check_result(table: Table, rows: pa.Table) -> dg.AssetCheckResult:
    """Run a table's suite; the severity is that of the worst failed expectation."""
    import great_expectations as gx
    from great_expectations.core.expectation_suite import ExpectationSuite
    from great_expectations.expectations.metadata_types import FailureSeverity

    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas(name=table.name)
    batch = source.add_dataframe_asset(name=table.name).add_batch_definition_whole_dataframe("all")
    suite = ExpectationSuite(name=table.name, expectations=_expectations(table, rows))
    outcome = batch.get_batch(batch_parameters={"dataframe": rows.to_pandas()}).validate(suite)
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
        },
    )


def _expectations(table: Table, rows: pa.Table) -> list[Expectation]:
    """Expectations of a bar table, from its contract and its rows."""
    import great_expectations.expectations as gxe

    rowwise = _ROW_SEVERITY[table.name]
    required = [c.name for c in table.columns if not c.nullable and c.type is not ColumnType.FLAG]
    present = [name for name in PRICES if rows.column(name).null_count < rows.num_rows]
    found: list[Expectation] = [
        gxe.ExpectTableColumnsToMatchOrderedList(column_list=list(table.column_names), severity="critical"),
        gxe.ExpectTableRowCountToBeBetween(min_value=1, severity="critical"),
        *(gxe.ExpectColumnValuesToNotBeNull(column=name, severity="critical") for name in required),
        gxe.ExpectColumnValuesToNotBeNull(column="close", severity=rowwise),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=list(table.key), severity=rowwise),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="known_at", column_B="ts", severity="critical"),
        gxe.ExpectColumnValuesToBeInSet(column="known_at_basis", value_set=["observed", "vendor", "assumed"], severity="critical"),
        *(gxe.ExpectColumnValuesToBeBetween(column=n, min_value=0, strict_min=True, severity=rowwise) for n in present),
    ]
    if {"high", "low"} <= set(present):
        pair = {"column_A": "high", "column_B": "low", "or_equal": True, "ignore_row_if": "either_value_is_missing"}
        found.append(gxe.ExpectColumnPairValuesAToBeGreaterThanB(**pair, severity=rowwise))
    return found


def _describe(kind: str, arguments: dict[str, object], result: dict[str, object]) -> str:
    """One failed expectation in words: what, where, how many, an example."""
    place = ", ".join(str(arguments[key]) for key in ("column", "column_A", "column_B", "column_list") if key in arguments)
    count = result.get("unexpected_count", result.get("observed_value", ""))
    examples = result.get("partial_unexpected_list", [])
    shown = f", for instance {examples[0]}" if isinstance(examples, list) and examples else ""
    return f"{kind}({place}): {count}{shown}"
