"""``config/models.yaml``: what is researched, how it is judged, and how a challenger is chosen before anybody looks at its test."""

from __future__ import annotations

import msgspec

from hedgefund_core.backtest.gate import GateLimits


class WalkForwardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Folds on an absolute grid: appended data adds folds and moves none."""

    first_train_sessions: int
    test_sessions: int
    embargo_sessions: int
    max_folds: int


class ChoiceRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Variant and challenger are chosen on the first folds out of sample; the gate judges only the folds after them."""

    criterion: str
    """mean_information_coefficient"""
    selection_folds: int


class ModelsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    seed: int
    rule: str
    challengers: dict[str, tuple[dict[str, float], ...]]
    """Model -> the variants tried; none named = the variants of the registry."""
    features: tuple[str, ...]
    """None named = every feature the source has the fields and the length for."""
    label_horizon_sessions: int
    train_every_sessions: int
    walk_forward: WalkForwardSettings
    choice: ChoiceRule
    placebo_draws: int
    cut_every_sessions: int
    expires_after_days: int
    min_coverage: float
    max_abs_score: float
    gate: GateLimits


class PriorTrial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that was tried before the ledger began, with what is known of it."""

    what: str
    trials: int


class PriorTrials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``config/prior_trials.yaml``: committed, so that history cannot be forgotten."""

    prior_trials: tuple[PriorTrial, ...] = ()

    @property
    def count(self) -> int:
        """Trials in all."""
        return sum(trial.trials for trial in self.prior_trials)
