"""A run as data: a seed, and what goes wrong when. A list of single faults, so that a failing run can be made smaller fault by fault."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import StrEnum

import msgspec

from hedgefund_core.trading.order import TRANSITIONS, OrderMove, OrderStatus
from live_executor.crash import CRASH_POINTS
from live_executor.simulation.pace import CALM_SECONDS
from live_executor.simulation.pairs import OUTCOMES, UNREACHABLE, UNREACHABLE_CRASHES

SYMBOLS = ("AAA", "BBB", "CCC")
PRE_SECONDS, AFTER_SECONDS, EVENING_SECONDS = 1.5, 2.5, 2.0
SHORT_SECONDS = 4.5
"""A session before the last one: nothing has to come right in it."""
HALF_SESSION_SECONDS = 7.0
MODEL_SESSIONS = 4
"""A model decides between sessions."""
STORMY_SECONDS = 8.5
"""Of the last session: after it nothing fails any more, and everything has to come right."""
SESSION_SECONDS = STORMY_SECONDS + CALM_SECONDS


def day_seconds(session_seconds: float) -> float:
    """A day with a session of that length: some seconds before the open, the session, the time after it, and an evening."""
    return PRE_SECONDS + session_seconds + AFTER_SECONDS + EVENING_SECONDS


DAY_SECONDS = day_seconds(SESSION_SECONDS)


class Kind(StrEnum):
    """What can go wrong, or be done by people."""

    # calls
    UNAVAILABLE = "unavailable"
    TIMEOUT_BEFORE = "timeout_before"
    TIMEOUT_AFTER = "timeout_after"
    LATE_ACCEPT = "late_accept"
    UNSEEN = "unseen"
    SLOW = "slow"
    STALE = "stale"
    BLIND = "blind"
    REJECT = "reject"
    CANCEL_NOOP = "cancel_noop"
    # streams
    LOSE = "lose"
    DOUBLE = "double"
    LATE = "late"
    GARBLE = "garble"
    TORN = "torn"
    DROP = "drop"
    MUTE = "mute"
    REFUSE = "refuse"
    FEED_DROP = "feed_drop"
    # market and venue
    THIN = "thin"
    HALT = "halt"
    JUMP = "jump"
    SPLIT = "split"
    RENAME = "rename"
    DIVIDEND = "dividend"
    FEE = "fee"
    MANUAL = "manual"
    AIM = "aim"
    OVERFILL = "overfill"
    WORD = "word"
    PAUSE = "pause"
    HALF_DAY = "half_day"
    SLOW_CANCEL = "slow_cancel"
    CANCEL_REFUSED = "cancel_refused"
    # people
    TARGETS = "targets"
    STOP_LEVEL = "stop_level"
    RESUME = "resume"
    PLACE = "place"
    CANCEL = "cancel"
    TERMINATE = "terminate"
    KILL = "kill"
    # research
    BARS = "bars"
    ALIAS = "alias"
    REGISTRY = "registry"
    BUNDLES = "bundles"
    BACK = "back"
    # the machine under it
    CRASH = "crash"
    CUT = "cut"
    FSYNC = "fsync"
    DISK_FULL = "disk_full"
    FREEZE = "freeze"
    CLOCK = "clock"


WORDS = (
    "held", "suspended", "stopped", "pending_cancel", "pending_replace", "pending_review", "accepted_for_bidding", "calculated",
    "tentative",
)  # fmt: skip
"""What an order may be said to be meanwhile; the last one is no word of any broker we know."""
STREAM = frozenset({Kind.LOSE, Kind.DOUBLE, Kind.LATE, Kind.GARBLE, Kind.TORN})


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happens. ``at`` is virtual seconds since the start."""

    kind: Kind
    at: float = 0.0
    times: int = 1
    seconds: float = 0.0
    route: str = ""
    symbol: str = ""
    number: float = 0.0
    text: str = ""
    status: str = ""
    move: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    seed: int
    scenario: str
    sessions: int
    faults: tuple[Fault, ...]
    early_seconds: float = SESSION_SECONDS
    """Length of the sessions before the last one."""

    @property
    def session_seconds(self) -> tuple[float, ...]:
        """How long each session is."""
        return (self.early_seconds,) * (self.sessions - 1) + (SESSION_SECONDS,)

    @property
    def weeks(self) -> tuple[int, int]:
        """The first day's place in its week and sessions in a week: a model's weeks end somewhere, and some are full of holidays."""
        return (0, 5) if self.scenario != "model" else (1, 2) if self.seed % 4 == 0 else (self.seed % 5, 5)

    @property
    def last_day(self) -> float:
        """When the last day begins."""
        return sum(day_seconds(seconds) for seconds in self.session_seconds[:-1])

    @property
    def heals_at(self) -> float:
        """When faults stop."""
        return self.last_day + PRE_SECONDS + STORMY_SECONDS

    @property
    def ends_at(self) -> float:
        """When everything is over and has to be right: after the last close, before the evening's orders."""
        return self.last_day + day_seconds(SESSION_SECONDS) - EVENING_SECONDS - 0.1


ROUTES = ("submit", "cancel", "look_up", "orders", "activities", "account", "positions", "asset", "clock", "days", "latest")
_BY_THEMSELVES = frozenset({
    (OrderStatus.PENDING_NEW, OrderMove.ACCEPT), (OrderStatus.ACCEPTED, OrderMove.FILL_PART), (OrderStatus.ACCEPTED, OrderMove.FILL_REST),
    (OrderStatus.PARTIALLY_FILLED, OrderMove.FILL_PART), (OrderStatus.PARTIALLY_FILLED, OrderMove.FILL_REST),
})  # fmt: skip
"""Moves that every run has many of."""
_AT_THE_CLOSE = frozenset({(OrderStatus.UNKNOWN, OrderMove.EXPIRE), (OrderStatus.EXPIRED, OrderMove.ACCEPT)})
"""Moves that need the end of a session."""
_SHY = (
    (OrderStatus.UNKNOWN, OrderMove.REJECT), (OrderStatus.EXPIRED, OrderMove.FILL_PART), (OrderStatus.CANCELED, OrderMove.ACCEPT),
)  # fmt: skip
"""Moves of which every other scene comes to nothing: they are planned twice."""
AIMS = (*(pair for pair in TRANSITIONS if pair not in {*UNREACHABLE, *_BY_THEMSELVES, *_AT_THE_CLOSE}), *_SHY)
_SENDS = (Kind.TIMEOUT_BEFORE, Kind.TIMEOUT_AFTER, Kind.TIMEOUT_AFTER, Kind.LATE_ACCEPT, Kind.UNAVAILABLE, Kind.REJECT)
_CUTS = tuple((point, outcome) for point in CRASH_POINTS for outcome in OUTCOMES if (point, outcome) not in UNREACHABLE_CRASHES)
_CRASHES = (*_CUTS, *(pair for pair in _CUTS if pair[0] == "before_send" or pair in {("after_send", "absent"), ("after_send", "filled")}))
"""Power cuts; those that need two orders at once come to nothing more often and are planned twice."""
SCENARIOS = ("mixed", "moves", "crash", "calls", "stream", "venue", "people", "disk", "rare", "calm", "model")


class _Maker:
    """Faults of one seed."""

    def __init__(self, seed: int, sessions: int) -> None:
        self.rng, self.seed = random.Random(f"plan-{seed}"), seed  # noqa: S311 - a simulation's chance, no secret
        self.sessions = sessions
        self.faults: list[Fault] = []

    def moment(self) -> float:
        """Some time of a run, mostly in a session."""
        day, early = self.rng.randrange(self.sessions), day_seconds(SHORT_SECONDS)
        start, length = (PRE_SECONDS, STORMY_SECONDS - 1.0) if day == self.sessions - 1 else (0.0, early)
        offset = start + self.rng.random() * length
        return round(day * early + offset, 3)

    def add(self, kind: Kind, **fields: object) -> None:
        """One more."""
        at = fields.pop("at", None)
        self.faults.append(msgspec.convert({"kind": kind, "at": self.moment() if at is None else at, **fields}, Fault))

    def some(self, low: int, high: int) -> range:
        """So many times."""
        return range(self.rng.randint(low, high))

    def symbol(self) -> str:
        """Some name."""
        return self.rng.choice(SYMBOLS)

    # ---- groups ------------------------------------------------------------------------------------------------------

    def calls(self) -> None:
        """Requests that fail, hang, lie."""
        rng = self.rng
        for _ in self.some(2, 6):
            kind = rng.choice((Kind.UNAVAILABLE, Kind.UNAVAILABLE, Kind.SLOW, Kind.STALE))
            routes = ("orders", "positions", "account") if kind is Kind.STALE else ROUTES
            self.add(kind, route=rng.choice(routes), times=rng.randint(1, 4), seconds=round(rng.random() * 1.5, 3))
        for _ in self.some(1, 4):
            kind = rng.choice(_SENDS)
            self.add(
                kind, route="submit", times=rng.randint(1, 3), seconds=round(0.1 + (2.5 if rng.random() < 0.2 else 0.8) * rng.random(), 3)
            )
        for _ in self.some(0, 2):
            self.add(Kind.CANCEL_NOOP, route="cancel", times=rng.randint(1, 3))
        for _ in self.some(0, 2):
            self.add(Kind.BLIND, route="look_up", times=1)

    def stream(self) -> None:
        """Updates that do not come as they happened."""
        rng = self.rng
        for _ in self.some(1, 5):
            self.add(rng.choice(tuple(sorted(STREAM))), times=rng.randint(1, 5), seconds=round(0.3 + rng.random() * 2, 3))
        for _ in self.some(0, 2):
            self.add(rng.choice((Kind.DROP, Kind.MUTE, Kind.FEED_DROP)), seconds=round(0.3 + rng.random() * 3, 3))
        if rng.random() < 0.3:
            self.add(Kind.REFUSE, number=float(rng.choice((401, 402, 406, 409))), seconds=round(0.2 + rng.random() * 3, 3))

    def venue(self) -> None:
        """What markets and exchanges do."""
        rng = self.rng
        for _ in self.some(1, 3):
            self.add(Kind.THIN, symbol=self.symbol(), seconds=round(2 + rng.random() * 8, 3))
        if rng.random() < 0.3:
            self.add(Kind.HALT, symbol=self.symbol(), seconds=round(1 + rng.random() * 5, 3))
        if rng.random() < 0.3:
            self.add(Kind.JUMP, symbol=self.symbol(), number=round(rng.uniform(-0.03, 0.03), 4))
        for kind, share in ((Kind.SPLIT, 0.2), (Kind.DIVIDEND, 0.3), (Kind.FEE, 0.5), (Kind.MANUAL, 0.25)):
            if rng.random() < share:
                number = rng.choice((2, 3, 0.5)) if kind is Kind.SPLIT else rng.randint(-40, 40) or 7
                self.add(kind, symbol=self.symbol(), number=float(number))

    def aims(self, count: int, *, every: float = 0.0) -> None:
        """Moves of orders in states of our choice, each seed others: somewhen, or one after the other in each name."""
        for place in range(count):
            status, how = AIMS[(self.seed * count + place) % len(AIMS)]
            offset = place // len(SYMBOLS) * every if every else self.rng.random() * (STORMY_SECONDS - 2.5)
            start = (self.sessions - 1) * day_seconds(SHORT_SECONDS) + PRE_SECONDS + 0.3
            self._aim(status, how, start + offset, SYMBOLS[place % len(SYMBOLS)])
        if self.sessions > 1:
            for place, (status, how) in enumerate(sorted(_AT_THE_CLOSE)):
                self._aim(status, how, PRE_SECONDS + SHORT_SECONDS - 1.1, SYMBOLS[place])

    def _aim(self, status: OrderStatus, how: OrderMove, at: float, symbol: str) -> None:
        side = self.rng.choice((1.0, 1.0, -1.0))
        self.add(Kind.AIM, at=round(at, 3), status=status.value, move=how.value, symbol=symbol, number=side)

    def people(self) -> None:
        """Halts, resumes, orders, cancels."""
        rng = self.rng
        for _ in self.some(0, 2):
            self.add(Kind.PLACE, symbol=self.symbol(), number=float(rng.choice((-30, -10, 5, 20, 60))))
        for _ in self.some(0, 2):
            self.add(Kind.CANCEL)
        if rng.random() < 0.5:
            at = self.moment()
            self.add(Kind.STOP_LEVEL, at=at, number=float(rng.choice((1, 2, 3, 3, 4))))
            if rng.random() < 0.7:
                self.add(Kind.RESUME, at=round(at + 1 + rng.random() * 8, 3))
        if rng.random() < 0.25:
            self.add(Kind.TERMINATE)

    def targets(self) -> None:
        """What is wanted, and what is wanted then."""
        for place in range(self.rng.randint(2, 4)):
            self.add(Kind.TARGETS, at=0.0 if place == 0 else None)

    def crashes(self, count: int) -> None:
        """Power cuts at named points with a broker that has got so far, and some anywhere."""
        for place in range(count):
            point, outcome = _CRASHES[(self.seed * count + place) % len(_CRASHES)]
            first = 0.3 if outcome == "none" else PRE_SECONDS + self.rng.random()
            self.add(Kind.CRASH, at=round(first, 3), route=point, text=outcome, symbol=self.symbol())
        if self.rng.random() < 0.3:
            self.add(Kind.CUT)

    def disk(self) -> None:
        """A disk that fails."""
        policy = self.rng.choice(("cancel", "cancel", "flatten", "leave"))
        if self.rng.random() < 0.6:
            self.add(Kind.FSYNC, number=float(self.rng.randint(0, 1)), text=policy)
        else:
            self.add(Kind.DISK_FULL, seconds=round(0.5 + self.rng.random() * 4, 3), text=policy)


class _Seldom(_Maker):
    """Faults of one seed, and what happens seldom: drawn from chances of their own, so that the rest of a seed stays what it is."""

    def _chance(self, name: str) -> random.Random:
        return random.Random(f"{name}-{self.seed}")  # noqa: S311 - a simulation's chance, no secret

    def calls(self) -> None:
        """Requests that fail, hang, lie; and a broker whose left hand takes an order of which the right one knows nothing for a while."""
        super().calls()
        rest, self.rng = self.rng, self._chance("unseen")
        for _ in self.some(0, 1):
            self.add(Kind.UNSEEN, route="submit", times=self.rng.randint(1, 2), seconds=round(0.5 + self.rng.random() * 4, 3))
        self.rng = rest

    def people(self) -> None:
        """Those of the house, and somebody who trades on the account by hand."""
        super().people()
        rest, self.rng = self.rng, self._chance("by hand")
        for _ in self.some(0, 2):
            self.add(Kind.MANUAL, symbol=self.symbol(), number=float(self.rng.choice((-90, -35, 7, 20, 60, 150))))
        self.rng = rest

    def rare(self, share: float) -> None:
        """What happens once in years."""
        self.rng = rng = self._chance("rare")
        draws: tuple[Callable[[], None], ...] = (
            lambda: self.add(Kind.OVERFILL, number=float(rng.choice((1, 3, 25))), text=rng.choice(("", "late"))),
            lambda: self.add(Kind.WORD, text=rng.choice(WORDS), seconds=round(0.3 + rng.random() * 3, 3)),
            lambda: self.add(Kind.PAUSE, seconds=round(0.5 + rng.random() * 5, 3)),
            lambda: self.add(Kind.SLOW_CANCEL, route="cancel", times=rng.randint(1, 3), seconds=round(0.2 + rng.random() * 2, 3)),
            lambda: self.add(Kind.CANCEL_REFUSED, route="cancel", times=rng.randint(1, 2)),
            lambda: self.add(Kind.CLOCK, at=0.0, number=rng.choice((3600.0, -3600.0, 47.0))),
            self._stand_still,
            self._past_the_executor,
        )
        for draw in draws:
            if rng.random() < share:
                draw()
        if self.sessions > 1:
            self._over_night(min(1.0, 4 * share))
        if rng.random() < share:  # called off while nobody knows where it is
            at = self.moment()
            self.add(Kind.TIMEOUT_BEFORE, at=at, route="submit", times=2)
            self.add(Kind.CANCEL, at=round(at + 0.8 + rng.random(), 3))

    def _over_night(self, share: float) -> None:
        """What needs a night: half days, splits that were announced (or not after all), names that change hands."""
        rng = self.rng
        if rng.random() < share:
            self.add(Kind.HALF_DAY, at=0.0, number=0.0)
        if rng.random() < share:
            day = SHORT_SECONDS if self.sessions > 1 else SESSION_SECONDS
            symbol, evening = self.symbol(), day_seconds(day) - EVENING_SECONDS + 0.2
            text = rng.choice(("announced", "announced", "late", "withdrawn", "twice"))
            self.add(Kind.SPLIT, at=round(rng.random() * evening, 3), symbol=symbol, number=float(rng.choice((2, 3, 0.5))), text=text)
            self.add(Kind.PLACE, at=round(evening + rng.random(), 3), symbol=symbol, number=float(rng.choice((-30, 20, 61))))
        if rng.random() < share / 2:
            self.add(Kind.RENAME, at=1.0, symbol=self.symbol(), text=rng.choice(("renamed", "reused")))

    def research(self) -> None:
        """Bars that are late, a registry that is away, people who promote; and power that goes when a decision is due."""
        self.rng = rng = self._chance("research")
        self.add(Kind.ALIAS, at=0.0, text=rng.choice(("1", "1", "4")))
        for _ in self.some(1, 5):
            self.add(Kind.ALIAS, text=rng.choice("122234561"), number=float(rng.random() < 0.5))
        for _ in self.some(0, 3):
            text = rng.choice(("restated", "away", "damaged"))
            self.add(Kind.BARS, text=text, symbol=self.symbol(), seconds=round(0.5 + rng.random() * 2, 3))
        for _ in self.some(0, 2):
            self.add(Kind.REGISTRY, text=rng.choice(("away", "slow")), seconds=round(1 + rng.random() * 9, 3))
        if rng.random() < 0.25:
            self.add(Kind.BACK)
        for day in range(self.sessions - 1):
            closed = day * day_seconds(SHORT_SECONDS) + PRE_SECONDS + SHORT_SECONDS
            if rng.random() < 0.5:
                self.add(Kind.CUT, at=round(closed + rng.random() * (AFTER_SECONDS + EVENING_SECONDS), 3))
            if rng.random() < 0.3:
                self.add(Kind.BARS, at=round(closed - rng.random(), 3), text="late", seconds=round(1 + rng.random() * 9, 3))
            if rng.random() < 0.15:
                self.add(Kind.BUNDLES, at=round(closed + rng.random(), 3), seconds=round(0.5 + rng.random() * 4, 3))

    def _stand_still(self) -> None:
        at = self.moment()
        self.add(Kind.FREEZE, at=at, seconds=round(0.5 + self.rng.random() * 5, 3))
        if self.rng.random() < 0.6:
            self._past_the_executor(round(at + 0.1 + self.rng.random(), 3))

    def _past_the_executor(self, at: float | None = None) -> None:
        at = self.moment() if at is None else at
        level, told = self.rng.choice((2, 2, 3)), self.rng.choice(("told", "told", "untold"))
        self.add(Kind.KILL, at=at, number=float(level), text=told)
        if self.rng.random() < 0.5:
            self.add(Kind.RESUME, at=round(at + 2 + self.rng.random() * 6, 3))


def plan_of(seed: int, scenario: str = "mixed") -> Plan:
    """The plan of a seed."""
    sessions = MODEL_SESSIONS if scenario == "model" else 1 if seed % (4 if scenario == "moves" else 6) else 2
    maker = _Seldom(seed, sessions)
    if scenario not in {"moves", "crash", "model"}:
        maker.targets()
    groups = {"calls": maker.calls, "stream": maker.stream, "venue": maker.venue, "people": maker.people, "disk": maker.disk}
    if scenario in {"mixed", "model"}:
        for group, share in (("calls", 0.7), ("stream", 0.7), ("venue", 0.7), ("people", 0.5), ("disk", 0.12)):
            if maker.rng.random() < share:
                groups[group]()
        maker.aims(4)
        maker.crashes(2)
        maker.rare(0.06)
        if scenario == "model":
            maker.research()
    elif scenario == "moves":
        maker.aims(12, every=1.9)
    elif scenario == "crash":
        maker.crashes(4)
    elif scenario == "rare":
        maker.rare(0.6)
    elif scenario in groups:
        groups[scenario]()
    faults = tuple(sorted(maker.faults, key=lambda fault: fault.at))
    return Plan(seed=seed, scenario=scenario, sessions=sessions, faults=faults, early_seconds=SHORT_SECONDS)
