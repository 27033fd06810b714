"""The gate's verdict of a cut, and the champion that follows from it."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
import dagster as dg

from hedgefund_core.bundle import GateRecord
from hedgefund_dagster.books import BOOKS, Book
from hedgefund_dagster.defs.promotion.case import open_case
from hedgefund_dagster.defs.promotion.judge import judge
from hedgefund_dagster.defs.promotion.promote import promote
from hedgefund_dagster.defs.promotion.records import GateOutcome
from hedgefund_dagster.defs.training.inputs import ResearchConfig
from hedgefund_dagster.defs.training.records import read_record, write_record
from hedgefund_dagster.metadata import OWNERS
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.resources.model_registry import ModelRegistryResource
from hedgefund_dagster.resources.signing import open_signer
from hedgefund_dagster.settings import SettingsResource

GROUP = "promotion"


def promotion_assets() -> list[dg.AssetsDefinition]:
    """Verdict and champion of every book."""
    return [asset for book in BOOKS.values() for asset in (_gate_verdict(book), _champion(book))]


def _gate_verdict(book: Book) -> dg.AssetsDefinition:
    @dg.asset(
        key=[book.name, "gate_verdict"],
        deps=[dg.AssetKey([book.name, "backtest"])],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"numpy"},
        tags={"book": book.name, "source": book.source},
        code_version="1",
        description="Is the challenger a strategy, is the incumbent's refit still the approved one? Every figure beside its limit.",
    )
    def gate_verdict(
        context: dg.AssetExecutionContext,
        config: ResearchConfig,
        lake: LakeResource,
        settings: SettingsResource,
        models: ModelRegistryResource,
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        case = open_case(context.instance, book, config, lake, settings, models)
        outcome = judge(case)
        write_record(case.lake, f"{case.place}/gate.json", outcome)
        return dg.MaterializeResult(
            metadata={
                "place": case.place,
                "cut": outcome.cut,
                "action": outcome.action,
                "reason": outcome.reason,
                "incumbent": dg.MetadataValue.md(table(outcome.continuation)),
                "challenger": dg.MetadataValue.md("none" if outcome.approval is None else table(outcome.approval)),
            }
        )

    return gate_verdict


def _champion(book: Book) -> dg.AssetsDefinition:
    @dg.asset(
        key=[book.name, "champion"],
        deps=[dg.AssetKey([book.name, "gate_verdict"])],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"mlflow"},
        tags={"book": book.name, "source": book.source},
        code_version="1",
        description="Signed bundles and the aliases champion, challenger, previous. An alias asks; the signed verdict allows.",
    )
    def champion(
        context: dg.AssetExecutionContext,
        config: ResearchConfig,
        lake: LakeResource,
        settings: SettingsResource,
        models: ModelRegistryResource,
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        case = open_case(context.instance, book, config, lake, settings, models)
        outcome = read_record(case.lake, f"{case.place}/gate.json", GateOutcome)
        calendar = case.lake.panel_manifest(book.source).calendar
        made = promote(case, outcome, open_signer(case.keys), calendar=calendar, dagster_run_id=context.run.run_id)
        write_record(case.lake, f"{case.place}/champion.json", made)
        return dg.MaterializeResult(
            metadata={
                "cut": outcome.cut,
                "action": made.action,
                "reason": made.reason,
                "champion": f"{made.champion} version {made.champion_version}" if made.champion else "none",
                "challenger": f"{made.challenger} version {made.challenger_version}" if made.challenger else "none",
                "bundle_digest": made.champion_digest,
                "mlflow_run_id": made.run_id,
                "data_version": case.study.panel.data_version,
            }
        )

    return champion


def table(record: GateRecord) -> str:
    """A verdict as a list: its lines wrap, while a table is cut off at the edge of the page."""
    lines = [
        f"- {'✓' if check.passed else '✕'} **{name}** {_number(check.value)}, limit {_number(check.limit)}"
        f"{'' if check.hard else ' (reported only)'}: {check.note}"
        for name, check in record.checks.items()
    ]
    return f"**{record.kind.replace('_', ' ')}: {'passed' if record.passed else 'refused'}**\n\n" + "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
