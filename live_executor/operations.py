"""A person's halt and resume: given to the running executor, or written into the journal by the command if none runs.

A halt first makes the HALT file, which needs no journal, lock or answer. Then the request is left where the executor finds it, now or
at its next start, so that it is not lost if the executor hangs.
"""

from __future__ import annotations

import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec

from hedgefund_core.account import State
from hedgefund_core.errors import DataUnavailable, Halted
from hedgefund_core.layout import account_folder, halt_file, journal_file
from hedgefund_core.machine import MirrorHalt, Record, step
from hedgefund_core.trading import events as e
from live_executor.app import bundles_of
from live_executor.clock import SystemClock
from live_executor.commands import Halt, Latch, Mailbox, latch_event, send
from live_executor.journals import JOURNALS
from live_executor.journals.emergency import EmergencyLog
from live_executor.journals.lock import holder_of
from live_executor.journals.sqlite import JournalReader
from live_executor.live.known import Known
from live_executor.live.past_journal import adoption
from live_executor.recovery import restart
from live_executor.settings import Settings

_POLL_SECONDS = 0.05


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request. ``by``: ``executor`` (it journaled it) or ``command`` (none ran, so the command did)."""

    account: str
    state: str
    cause: str
    person: str
    by: str
    journal_seq: int
    verified: bool | None = None
    """Whether the executor's queries have shown since that nothing is left; None: that was not waited for."""
    left: tuple[str, ...] = ()
    """What was, in words"""
    answered: bool = True
    """Whether the broker has said anything since"""

    @property
    def exit_code(self) -> int:
        """5 where a cancel of everything is not proven, 6 where the broker says nothing; an armed flattening is what was asked for."""
        if self.verified is not False or self.state != "cancelling":
            return 0
        return 5 if self.answered else 6


def ask(settings: Settings, account: str, command: Latch, *, patience_seconds: float) -> Done:
    """Halt or resume an account.

    Raises
    ------
    DataUnavailable : an executor runs and has not journaled the request in time; the request stays where it will find it.
    """
    data, folder = settings.data, settings.data / account_folder(account)
    if isinstance(command, Halt):
        Mailbox(data, account).mirror(on=True)
    path: Path | None = None
    while True:
        if holder_of(folder) is None:
            if path is not None:
                path.unlink(missing_ok=True)  # the executor ended before it took the request
            try:
                return journal_directly(settings, account, command)
            except Halted:  # an executor started just now: it takes requests like any other
                path = None
        path = path or send(data, account, command)
        if _taken(path, folder, patience_seconds):
            return journaled(data, account)


def leave_urgently(data: Path, account: str, command: Halt) -> None:
    """Halt without settings, journal or lock: a HALT file in plain words stops everything at the executor's next step or start."""
    (data / halt_file(account)).write_text(f"{command.person}: {command.reason}\n", encoding="utf-8")
    send(data, account, command)


def journal_directly(settings: Settings, account: str, command: Latch) -> Done:
    """Steps of the machine, committed as the executor would; its cancels go out when an executor starts."""
    journal = JOURNALS["sqlite"](settings.data, settings.keys, account)
    try:
        recovered = restart(journal, bundles_of(settings, account))
        mailbox, state, seq = Mailbox(settings.data, account), recovered.state, 0
        left = mailbox.waiting(state.session, recovered.ts)  # asked of an executor that never answered: it was asked before this
        past = _past_journal(settings, account, state, recovered.ts)
        for event in [*past, *(event for _, event in left), latch_event(command, state.session, recovered.ts)]:
            state, commands = step(state, event)
            seq = journal.append([event, *(found.frame for found in commands if isinstance(found, Record))]).seq
            for found in commands:
                if isinstance(found, MirrorHalt):
                    mailbox.mirror(on=found.on)
        for path, _ in left:
            path.unlink(missing_ok=True)
        journal.sign_head(SystemClock().now())
    finally:
        journal.close()
    ladder = state.ladder
    return Done(account=account, state=ladder.name, cause=ladder.cause, person=ladder.person, by="command", journal_seq=seq)


def _past_journal(settings: Settings, account: str, state: State, ts: datetime) -> list[e.Input]:
    """What was done at the broker meanwhile: the machine has to know of closing orders before it hears that everything is to be closed."""
    with closing(JournalReader(settings.data / journal_file(account))) as reader:
        known = Known(entry.frame for entry in reader.read(kinds=("emergency_adopted",)))
    acts = EmergencyLog(settings.data / account_folder(account)).read(after=known.emergency)
    return adoption(state, acts, ts, state.session)


def wait_until_taken(path: Path, folder: Path, seconds: float) -> bool:
    """Whether the executor took the file in time (it removes it once the request is durable); False also where it ended without."""
    deadline = time.monotonic() + seconds
    while path.exists():
        if time.monotonic() > deadline or holder_of(folder) is None:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _taken(path: Path, folder: Path, patience_seconds: float) -> bool:
    """As `wait_until_taken`, but an executor that runs and does not answer is an error."""
    if wait_until_taken(path, folder, patience_seconds):
        return True
    holder = holder_of(folder)
    if holder is None:
        return False
    raise DataUnavailable(
        f"the request is left in {path}, but in {patience_seconds:g} s the executor (process {holder}) has not journaled it",
        mend=f"if process {holder} hangs: kill -9 {holder}, then give the command again; what was journaled is safe",
    )


def journaled(data: Path, account: str) -> Done:
    """Where the ladder stands by the journal's newest word about it."""
    newest = None
    with closing(JournalReader(data / journal_file(account))) as reader:
        seq = reader.head.seq
        for entry in reader.read(kinds=("ladder_moved",)):
            newest = entry.frame
    state, cause, person = ("active", "", "") if not isinstance(newest, e.LadderMoved) else (newest.after, newest.cause, newest.person)
    return Done(account=account, state=state, cause=cause, person=person, by="executor", journal_seq=seq)
