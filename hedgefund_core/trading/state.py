"""The ladder: how far the account may act. A rule or a person moves it up; it comes down as ``contracts.md`` (Ladder) allows.

Session-scoped states expire at the next session; account-scoped ones need a person with a reason.
Automatic escalation ends at FLATTENING: HALTED is a person's.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec


class Level(IntEnum):
    """Rungs in rising severity."""

    ACTIVE = 0
    REDUCING = 1
    CANCELLING = 2
    FLATTENING = 3
    HALTED = 4


class Scope(StrEnum):
    """What ends a state: the next session, or a person."""

    NONE = "none"
    SESSION = "session"
    ACCOUNT = "account"


class Ladder(msgspec.Struct, frozen=True, kw_only=True):
    """Where the account stands and why."""

    level: Level = Level.ACTIVE
    scope: Scope = Scope.NONE
    cause: str = ""
    person: str = ""
    since_session: str = ""

    @property
    def name(self) -> str:
        """The rung's name in lower case, as shown to people."""
        return self.level.name.lower()

    @property
    def admits_entries(self) -> bool:
        """Whether new exposure may be taken at all."""
        return self.level is Level.ACTIVE


def escalate(ladder: Ladder, level: Level, scope: Scope, *, cause: str, session: str, person: str = "") -> Ladder:
    """Move the ladder up to ``level``; it stays where it is if it stands at least as high. An account scope never becomes a session's.

    A person's halt on the rung where an automatic one stands takes that over, and a later automatic one keeps the person's name:
    otherwise a stand-in (the automatic resume of a replay) could end what a person began.
    """
    standing = ladder.level > Level.ACTIVE
    stronger_scope = level == ladder.level and scope is Scope.ACCOUNT and ladder.scope is not Scope.ACCOUNT
    takes_over = standing and level == ladder.level and bool(person) and not ladder.person
    if not (level > ladder.level or stronger_scope or takes_over):
        return ladder
    lasting = Scope.ACCOUNT if ladder.scope is Scope.ACCOUNT else scope
    named = person or (ladder.person if standing else "")
    return Ladder(level=level, scope=lasting, cause=cause, person=named, since_session=session)


def begin_session(ladder: Ladder, session: str) -> Ladder:
    """The ladder when ``session`` begins: a session-scoped state of an earlier one has expired (ISO dates compare as text)."""
    if ladder.scope is Scope.SESSION and session > ladder.since_session:
        return Ladder(since_session=session)
    return ladder


def resume(session: str, *, person: str, reason: str) -> Ladder:
    """A person (or the journaled stand-in of a replay) returns the account to ACTIVE."""
    return Ladder(cause=reason, person=person, since_session=session)
