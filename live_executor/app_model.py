"""Wires a promoted model on the wall clock: its bundle, the lake's panel of its source, and the child that follows the alias."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from hedgefund_core.account import State
from hedgefund_core.backtest.event_driven import waived_rules
from hedgefund_core.bundle import Bundle
from hedgefund_core.errors import ConfigError
from hedgefund_core.layout import account_folder
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.quant.sessions import RebalanceCalendar
from hedgefund_core.risk.limits import Mandate
from live_executor.app import RunRequest, find_model
from live_executor.live.model import ModelPlan
from live_executor.live.opening import Opening
from live_executor.models import child
from live_executor.models.loader import Admitted, stored
from live_executor.models.trust import trusted_verifier
from live_executor.panels import NewestPanel
from live_executor.settings import Settings, seconds_of

_DEADLINE = timedelta(minutes=RebalanceCalendar().deadline_minutes)


def model_plan(settings: Settings, account: str, bundle: Path | None, state: State) -> tuple[ModelPlan, Bundle]:
    """What a run of the promoted model needs, and the model to open the account with.

    Raises
    ------
    ModelUnavailable, ModelMismatch : no model is promoted, or it may not trade, and the account has none of its own.
    ConfigError : the model cannot trade real shares, or the account trades something else.
    """
    first = find_model(settings, RunRequest(bundle=bundle), account, state)
    model = state.bundle if first is None else first.bundle
    if model is None:  # find_model raises where neither is there
        raise ConfigError(f"account {account} has no model", mend="promote one, or give --targets FILE")
    source = model.manifest.source
    if state.account and state.source != source:
        raise ConfigError(f"account {account} trades {state.source}, the model {source}", mend="name another account with --account")
    panel = NewestPanel(settings.data, source)
    if not state.account:
        refuse_unreal(panel())
    store, verify = settings.data / account_folder(account) / "bundles", trusted_verifier(settings.keys)

    def read(digest: str) -> Admitted:
        return stored(store, digest, verify)

    plan = ModelPlan(
        first=first,
        panel=panel,
        ask=lambda: child.ask(settings, account, bundle),
        read=read,
        alias_every=seconds_of(settings.trading.alias_every, "alias_every") or 60.0,
        anchor=_mandate(settings, model).rebalancing.anchor,
        fill=settings.trading.fill,
        delay=timedelta(minutes=settings.trading.decision_delay_minutes),
        late_after=_DEADLINE,
        see_every=seconds_of(settings.trading.live.rebalance_every, "live.rebalance_every") or 60.0,
    )
    return plan, model


def opening_of(settings: Settings, model: Bundle, *, account: str, mode: str, broker: str, panel: Panel | None) -> Opening:
    """The first frame of an account that a model trades, and of its mandate at every start; ``panel``: of a new account."""
    return Opening(
        account=account,
        book=settings.trading.book,
        mode=mode,
        broker=broker,
        source=model.manifest.source,
        mandate=_mandate(settings, model),
        price_kind=model.manifest.price_kind,
        **({} if panel is None else {"sessions_per_year": panel.sessions_per_year}),
    )


def refuse_unreal(panel: Panel) -> None:
    """Raise ConfigError for a source that only replays may trade: one in notional units, or one that lacks the data of a rule."""
    if panel.price_kind is PriceKind.TOTAL_RETURN:
        raise ConfigError(
            f"source {panel.source} has total-return prices, which are notional units and no prices of shares",
            mend="train and promote a model on a source of raw prices",
        )
    missing = waived_rules(panel)
    if missing:
        raise ConfigError(
            f"source {panel.source} lacks the data of {', '.join(sorted(missing))}: paper and live waive no rule",
            mend="use a source with volume",
        )


def _mandate(settings: Settings, model: Bundle) -> Mandate:
    name = model.manifest.mandate
    if name not in settings.mandates:
        raise ConfigError(f"the model was approved for mandate {name!r}, which config/risk.yaml does not have", mend="restore it there")
    return settings.mandates[name]
