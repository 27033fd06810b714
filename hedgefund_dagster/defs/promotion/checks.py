"""What must be so of a promoted bundle."""

# No `from __future__ import annotations`: Dagster looks at the annotation of the context itself, not at its text.
import dagster as dg

from hedgefund_core import layout
from hedgefund_core.bundle import read_bundle
from hedgefund_core.errors import HedgefundError
from hedgefund_dagster.books import BOOKS, Book
from hedgefund_dagster.resources.model_registry import ModelRegistryResource
from hedgefund_dagster.resources.signing import verify
from hedgefund_dagster.settings import SettingsResource


def promotion_checks() -> list[dg.AssetChecksDefinition]:
    """Checks of every book's champion."""
    return [_loads(book) for book in BOOKS.values()]


def _loads(book: Book) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey([book.name, "champion"]),
        name="champion_loads_and_may_trade",
        blocking=True,
        description="The aliased bundle is read as the executor reads it: signature, digests, feature code, golden vectors, verdict.",
    )
    def champion_loads_and_may_trade(models: ModelRegistryResource, settings: SettingsResource) -> dg.AssetCheckResult:
        registry, keys = models.open(), settings.open().folder / "keys"
        version = registry.by_alias(book.alias(layout.CHAMPION))
        if version is None:
            return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.ERROR, description="nothing carries the champion alias")
        try:
            bundle = read_bundle(registry.bundle_files(version), lambda key, payload, signature: verify(keys, key, payload, signature))
        except HedgefundError as error:
            return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.ERROR, description=error.message)
        gate = bundle.manifest.gate
        return dg.AssetCheckResult(
            passed=gate.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"version {version.version} ({bundle.manifest.name}): {gate.kind} {'passed' if gate.passed else 'refused'}",
            metadata={"bundle_digest": bundle.digest, "trained_through": bundle.manifest.trained_through},
        )

    return champion_loads_and_may_trade
