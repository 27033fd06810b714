"""The executor's brain, sans I/O: ``step(state, event) -> (state, commands)``.

The same function runs in the event-driven backtest, in replay, paper and live, and in recovery after a crash.
A shell commits the event and every ``Record`` of a step to the journal before it carries out any other command of it.

Handlers by subject: ``sessions`` (account, configuration, model, bars, prices), ``decisions``, ``orders`` (news of orders), ``books``
(cash, splits, reports, adoption), ``people``. ``follow`` is what orders that move set going; ``ladders`` moves the ladder.
"""

from __future__ import annotations

from hedgefund_core.commands import CancelOrder, Command, LookUpOrder, MirrorHalt, Record, SubmitOrder
from hedgefund_core.machine.dispatch import attach_bundle, fold, step
from hedgefund_core.machine.ladders import Step

__all__ = ["CancelOrder", "Command", "LookUpOrder", "MirrorHalt", "Record", "Step", "SubmitOrder", "attach_bundle", "fold", "step"]
