"""Findings of the look-ahead audit as a check's result: one shape for panel, features, labels, scores and fills."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from hedgefund_core.quant.features.audit import LookAheadFinding


def audited(
    findings: Sequence[LookAheadFinding],
    nothing: str,
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    asset_key: dg.AssetKey | None = None,
    check_name: str | None = None,
) -> dg.AssetCheckResult:
    """Passed where nothing was found; ``nothing`` says what was tried in vain."""
    return dg.AssetCheckResult(
        passed=not findings,
        asset_key=asset_key,
        check_name=check_name,
        severity=severity,
        description="; ".join(str(finding) for finding in findings) or nothing,
        metadata={"findings": len(findings)},
    )
