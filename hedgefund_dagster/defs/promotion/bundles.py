"""From a study's model to signed bundle files."""

from __future__ import annotations

import msgspec
import numpy as np

from hedgefund_core.bundle import MANIFEST, SCHEMA, GateRecord, Manifest, SignalContract, manifest_bytes, signed_payload, with_files
from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import FeatureSpec, code_digest
from hedgefund_core.quant.models.model import ScoreModel, score_panel
from hedgefund_dagster.defs.training.records import Candidate
from hedgefund_dagster.defs.training.study import Study
from hedgefund_dagster.defs.training.walk import final_model
from hedgefund_dagster.resources.signing import Signer

RECENT_SESSIONS = 21
PENDING = GateRecord(kind="pending", passed=False)
"""Verdict of a draft: nothing admits it."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle before its verdict: manifest without signature, and its files."""

    manifest: Manifest
    files: dict[str, bytes]

    def draft_files(self) -> dict[str, bytes]:
        """All three files, unsigned, for the fresh process that checks the golden vectors."""
        return {**self.files, MANIFEST: manifest_bytes(msgspec.structs.replace(self.manifest, key_id="draft"))}

    def signed(self, gate: GateRecord, signer: Signer) -> dict[str, bytes]:
        """All three files with the verdict inside, signed."""
        manifest = msgspec.structs.replace(self.manifest, gate=gate, key_id=signer.key_id)
        signature = signer.sign(signed_payload(manifest))
        return {**self.files, MANIFEST: manifest_bytes(msgspec.structs.replace(manifest, signature=signature))}


def draft(study: Study, candidate: Candidate, *, calendar: str, dagster_run_id: str) -> tuple[Draft, ScoreModel]:
    """The model of the cut as an unsigned bundle."""
    model, specs = final_model(study, candidate.name, candidate.params)
    panel, settings = study.panel, study.settings
    manifest = Manifest(
        schema=SCHEMA,
        name=candidate.name,
        kind=candidate.kind,
        features=specs,
        columns=model.columns,
        code_digest=code_digest(specs),
        universe=scored_symbols(study, model),
        calendar=calendar,
        price_kind=panel.price_kind.value,
        source=panel.source,
        trained_from=str(panel.sessions[study.folds[0].train[0]]),
        trained_through=study.cut,
        expires_after_days=settings.expires_after_days,
        signal_contract=SignalContract(min_coverage=settings.min_coverage, max_abs_score=settings.max_abs_score),
        mandate=study.mandate.name,
        data_versions={panel.source: panel.data_version},
        mlflow_run_id=candidate.run_id,
        dagster_run_id=dagster_run_id,
        gate=PENDING,
    )
    complete, files = with_files(manifest, model, golden_features(study, specs))
    return Draft(manifest=complete, files=files), model


def scored_symbols(study: Study, model: ScoreModel) -> tuple[str, ...]:
    """Names the model could score lately: a listing too young for the features is no part of the promise of coverage."""
    columns = [study.research.columns.index(name) for name in model.columns]
    recent = slice(max(0, study.panel.shape[0] - RECENT_SESSIONS), None)
    scores = score_panel(model, study.research.values[recent][:, :, columns], study.research.mask[recent])
    known = np.isfinite(scores).sum(axis=0)
    return tuple(symbol for symbol, scored in zip(study.panel.symbols, known.tolist(), strict=True) if scored)


def golden_features(study: Study, specs: tuple[FeatureSpec, ...]) -> Floats:
    """The cross-section of the cut: real values, absent ones included."""
    columns = [study.research.columns.index(spec.name) for spec in specs]
    return np.ascontiguousarray(study.research.values[-1][:, columns])
