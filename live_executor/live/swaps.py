"""Changes the model without a restart: follows the registry's alias, has its bundle verified in a child, and swaps between sessions.

An alias is only a request. Whether a bundle may trade is decided by its signature, digests, golden vectors and gate verdict. If it is
refused, or the registry is away, nothing changes. A person can go back to the model before, with a reason; the alias is then followed
again only once it points to another bundle.
"""

from __future__ import annotations

from collections.abc import Iterable

from hedgefund_core import errors
from hedgefund_core.trading import events as e
from live_executor.live.floor import Floor
from live_executor.live.model import ModelPlan, ModelTrader
from live_executor.logging import logger
from live_executor.models.loader import Admitted

_log = logger("swaps")
_TICK_SECONDS = 0.1


def left_behind(models: Iterable[e.ModelLoaded]) -> str:
    """Digest of the model that a person went back from, while the one gone back to is in use; else empty."""
    before, left = "", ""
    for model in models:
        left = before if model.person else ""
        before = model.digest
    return left


class Swaps:
    """Follows the alias."""

    def __init__(self, floor: Floor, trader: ModelTrader, plan: ModelPlan, past: Iterable[e.ModelLoaded]) -> None:
        self._floor, self._trader, self._plan = floor, trader, plan
        self._past = list(past)
        self._left = left_behind(self._past)
        self._waiting: Admitted | None = None
        self._nudged, self._since = False, 0.0
        self._refused = ""

    @property
    def _may_swap(self) -> bool:
        """Between sessions."""
        return not self._floor.timeline.is_open

    def nudge(self) -> None:
        """The alias may have moved: look now."""
        self._nudged = True

    def heard(self, frames: Iterable[e.Event]) -> None:
        """Commits."""
        for frame in frames:
            if isinstance(frame, e.ModelLoaded):
                self._past.append(frame)
                self._left = left_behind(self._past)

    async def open(self) -> None:
        """Let the model of the start trade, unless a person went back from it; another one than before waits while a session runs."""
        first, state = self._plan.first, self._floor.state
        if first is not None and first.bundle.digest == self._left:
            first = None
        if first is not None and state.model_digest not in {"", first.bundle.digest} and not self._may_swap:
            self._waiting, first = first, None
        await self._trader.open(first)

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            await self._floor.sleep(_TICK_SECONDS)
            self._since += _TICK_SECONDS
            if self._nudged or self._since >= self._plan.alias_every:
                self._nudged, self._since = False, 0.0
                await self._ask()
            if self._waiting is not None and self._may_swap:
                await self._swap()

    async def back(self, person: str, reason: str) -> None:
        """To the model that was in use before this one."""
        current = self._floor.state.model_digest
        for model in reversed(self._past):
            if model.digest == current:
                continue
            try:
                await self._trader.load(self._plan.read(model.digest), person=person, reason=reason)
            except (errors.ModelMismatch, errors.ModelUnavailable) as error:
                self._floor.trouble(f"model {model.version} cannot be gone back to: {error.message}")
                continue
            self._waiting = None
            return
        self._floor.trouble(f"{person} asks for the model before ({reason}): there is none that may trade")

    async def _ask(self) -> None:
        try:
            digest = await self._plan.ask()
            if digest in {self._floor.state.model_digest, self._left}:
                self._waiting = None  # the alias has not moved, or points to the model that a person went back from
                return
            if self._waiting is None or self._waiting.bundle.digest != digest:
                self._waiting = self._plan.read(digest)
                _log.warning("another model waits for the session's end", digest=digest[:12], version=self._waiting.registered.version)
        except errors.ModelUnavailable as error:
            _log.warning("the registry cannot be asked, the model stays", error=error.message)
        except errors.ModelMismatch as error:
            self._refuse(error.message)

    async def _swap(self) -> None:
        admitted = self._waiting
        if admitted is None:
            return
        try:
            await self._trader.know(admitted.bundle.manifest.universe)
        except (errors.BrokerUnavailable, errors.DataUnavailable) as error:
            _log.warning("the new model's instruments cannot be asked for yet", error=error.message)
            return
        if not self._may_swap or self._waiting is not admitted:
            return  # meanwhile a session began, or a person went back
        self._waiting = None
        try:
            self._trader.use(admitted)
            self._refused = ""
        except errors.ModelMismatch as error:
            self._refuse(error.message)

    def _refuse(self, message: str) -> None:
        if message != self._refused:
            self._refused = message
            self._floor.trouble(f"model refused, the last good one stays in use: {message}", severity="critical")
