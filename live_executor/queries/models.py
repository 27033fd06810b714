"""The models the account used, and what the one in use said last."""

from __future__ import annotations

from datetime import date, timedelta

from hedgefund_core.account import weights_of
from hedgefund_core.bundle import Bundle
from hedgefund_core.errors import ModelMismatch, ModelUnavailable
from hedgefund_core.trading import events as e
from live_executor.queries.shapes import ModelRow, SignalRow
from live_executor.queries.story import BundleReader, Story


def models(story: Story, bundles: BundleReader) -> list[ModelRow]:
    """Every load of a model, oldest first; the last one is in use."""
    return [_row(story, loaded, bundles, newest=loaded is story.models[-1]) for loaded in story.models]


def _row(story: Story, loaded: e.ModelLoaded, bundles: BundleReader, *, newest: bool) -> ModelRow:
    trained, today = date.fromisoformat(loaded.trained_through), story.ts.date()
    expires = trained + timedelta(days=loaded.expires_after_days)
    note = ""
    bundle: Bundle | None = None
    try:
        bundle = bundles(loaded.digest)
    except (ModelMismatch, ModelUnavailable) as error:
        note = error.message
    return ModelRow(
        name=loaded.name,
        version=loaded.version,
        alias=loaded.alias,
        kind=loaded.model_kind,
        digest=loaded.digest,
        loaded_at=loaded.ts,
        trained_through=loaded.trained_through,
        expires_on=expires.isoformat(),
        age_days=(today - trained).days,
        expired=today > expires,
        gate=gate_of(bundle),
        in_use=newest,
        usable=bundle is not None,
        mlflow_run_id=loaded.mlflow_run_id,
        dagster_run_id=loaded.dagster_run_id,
        note=note,
    )


def gate_of(bundle: Bundle | None) -> str:
    """The signed verdict in words."""
    if bundle is None:
        return "not readable"
    gate = bundle.manifest.gate
    if gate.kind == "override":
        return f"override by {gate.person} until {gate.expires}: {gate.reason}"
    failed = sorted(name for name, check in gate.checks.items() if check.hard and not check.passed)
    return f"{gate.kind}: passed" if gate.passed else f"{gate.kind}: not passed ({', '.join(failed) or 'no reason given'})"


def signals(story: Story) -> list[SignalRow]:
    """Scores, ranks and weights of the newest decision, the most attractive first."""
    if not story.decisions:
        return []
    made = story.decisions[-1].made
    targets = made.weights
    held = dict(zip((i.instrument_id for i in story.state.instruments), weights_of(story.state).tolist(), strict=True))
    scores = e.unpacked(made.scores)
    scored = [(score, key) for key, score in zip(made.instruments, scores, strict=True) if score is not None]
    rank = {key: place for place, (_, key) in enumerate(sorted(scored, key=lambda pair: (-pair[0], pair[1])), start=1)}
    rows = [
        SignalRow(symbol=story.symbol(key), score=score, rank=rank.get(key), target_weight=targets.get(key), weight=held.get(key))
        for key, score in zip(made.instruments, scores, strict=True)
    ]
    return sorted(rows, key=lambda row: (row.rank is None, row.rank or 0, row.symbol))
