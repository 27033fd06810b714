"""Starts and ends of the process: what crashes again and again is stopped, because each start acts before it fails."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from hedgefund_core.account_state import State
from hedgefund_core.commands import MirrorHalt
from hedgefund_core.machine.ladders import Step, alert, with_ladder
from hedgefund_core.trading import events as e
from hedgefund_core.trading.state import Level, Scope, escalate


def on_run_began(state: State, event: e.RunBegan) -> Step:
    """Count the starts that did not end in order; beyond the budget the account is halted until a person resumes."""
    since = event.ts - timedelta(seconds=event.window_seconds)
    unended = () if state.running_since is None else (state.running_since,)
    crashed = tuple(at for at in (*state.crashed, *unended) if at >= since)
    state = replace(state, running_since=event.ts, crashed=crashed)
    if event.budget <= 0 or len(crashed) < event.budget:
        return state, []
    cause = f"{len(crashed)} starts within {event.window_seconds / 60:g} minutes did not end in order"
    ladder = escalate(state.ladder, Level.HALTED, Scope.ACCOUNT, cause=cause, session=state.session)
    if ladder == state.ladder:
        return state, []
    state, commands = with_ladder(state, ladder, event, (MirrorHalt(on=True),))
    return state, [alert(event, f"{cause}: the account is halted until a person resumes", severity="critical"), *commands]


def on_run_ended(state: State, _event: e.RunEnded) -> Step:
    """An end in order."""
    return replace(state, running_since=None), []
