"""What an account that trades a promoted model has beside its broker: a lake, a registry, people who promote and go back."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hedgefund_core.account import State
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.risk.limits import Mandate
from live_executor.commands import LookAtAlias, RollBack
from live_executor.live.model import ModelPlan
from live_executor.live.opening import Opening
from live_executor.live.runtime import LiveParts
from live_executor.simulation.decisions import DecisionWitness
from live_executor.simulation.lake import SOURCE, Lake
from live_executor.simulation.plan import Fault, Kind
from live_executor.simulation.registry import Registry

if TYPE_CHECKING:
    from live_executor.simulation.world import World

_DELAY, _LATE_AFTER = timedelta(seconds=0.8), timedelta(seconds=1)
_DECAY_SESSIONS = 2


class Research:
    """Plugged into a process instead of its file of targets."""

    def __init__(self, world: World, mandate: Mandate, rng: random.Random) -> None:
        self._world = world
        kind = rng.choice((PriceKind.RAW, PriceKind.SPLIT_ADJUSTED))
        holidays = world.plan.weeks[1] < 5
        anchor = "week_end" if holidays else rng.choice(("every", "every", "week_end"))
        end_state = rng.choice(("hold", "flatten", "decay"))
        self._mandate = replace(
            mandate, expiry_end_state=end_state, expiry_decay_sessions=_DECAY_SESSIONS,
            rebalancing=replace(mandate.rebalancing, anchor=anchor),
        )  # fmt: skip
        first = world.hours.now().date()
        self.lake = Lake(world.market, first.isoformat(), rng.randrange(2**32), kind)
        folder = world.folder / "research"
        self.registry = Registry(folder, self.lake.panel(), mandate.name, lambda: world.hours.now().date(), rng)
        self.witness = DecisionWitness(world, self.lake, self.registry, self._mandate)
        self.acts: dict[Kind, Callable[[Fault], None]] = {
            Kind.BARS: self._bars, Kind.ALIAS: self._move_alias, Kind.REGISTRY: self._registry, Kind.BUNDLES: self._bundles,
            Kind.BACK: self._go_back,
        }  # fmt: skip

    def plug(self, parts: LiveParts, state: State) -> LiveParts:
        """The parts of a process that trades the model; raises ModelUnavailable or ModelMismatch where there is none to trade."""
        plan = ModelPlan(
            first=self.registry.first(state), panel=self.lake.panel, ask=self.registry.ask, read=self.registry.read, alias_every=1.0,
            anchor=self._mandate.rebalancing.anchor, fill="auto", delay=_DELAY, late_after=_LATE_AFTER, see_every=2.0,
        )  # fmt: skip
        opening = Opening(
            account=parts.opening.account, book=parts.opening.book, mode=parts.opening.mode, broker=parts.opening.broker, source=SOURCE,
            mandate=self._mandate, price_kind=self.lake.price_kind.value,
        )  # fmt: skip
        return dataclasses.replace(parts, opening=opening, model=plan, targets=None)

    @property
    def has_no_model(self) -> bool:
        """Whether none has traded yet: then a start has nothing to fall back on."""
        return self.witness.model is None

    def heal(self) -> None:
        """The storm is over."""
        self.lake.held_back, self.lake.unreadable = False, ""
        self.registry.away = self.registry.slow = self.registry.lost = False
        if self.has_no_model:
            self.registry.alias = "1"

    # ---- what goes wrong ---------------------------------------------------------------------------------------------

    def _for(self, seconds: float, owner: object, name: str, value: object) -> None:
        """Something is so for a while."""
        before = getattr(owner, name)
        setattr(owner, name, value)
        asyncio.get_running_loop().call_later(seconds, setattr, owner, name, type(before)())

    def _bars(self, fault: Fault) -> None:
        if fault.text == "late":
            self._for(fault.seconds, self.lake, "held_back", value=True)
        elif fault.text == "restated":
            self.lake.restate(fault.symbol)
        else:
            self._for(fault.seconds, self.lake, "unreadable", fault.text)

    def _registry(self, fault: Fault) -> None:
        self._for(fault.seconds, self.registry, fault.text, value=True)

    def _bundles(self, fault: Fault) -> None:
        self._for(fault.seconds, self.registry, "lost", value=True)

    # ---- people ------------------------------------------------------------------------------------------------------

    def _move_alias(self, fault: Fault) -> None:
        self.registry.alias = fault.text
        if fault.number:
            self._world.director.tell(LookAtAlias())

    def _go_back(self, fault: Fault) -> None:
        self._world.director.tell(RollBack(reason="it loses", person="ann"))
