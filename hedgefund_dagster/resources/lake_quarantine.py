"""The quarantine: rows that broke a rule wait here with the reason; a person lets them back in, or takes that back, with a reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid
from hedgefund_core.schemas import QUARANTINE
from hedgefund_dagster.resources.lake_files import arrow_schema, conform, parquet_bytes, read_parquet, write_atomic
from hedgefund_dagster.resources.lake_folders import exclusive

BARS = "bars"
ALL_RULES = "all"
Key = tuple[str, str, str, str, str]


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Who let a finding go or took that back, when, and why; kept forever."""

    at: str
    person: str
    action: str
    reason: str
    source: str
    symbol: str
    ts: str
    rule: str
    instrument: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which findings a person speaks of: ``ts`` a moment (RFC 3339) or a day, ``rule`` a name or ``all``, ``source`` empty for any."""

    symbol: str
    ts: str
    rule: str = ALL_RULES
    source: str = ""

    def covers(self, key: Key) -> bool:
        """Whether a finding is meant."""
        source, symbol, ts, rule, _ = key
        day = len(self.ts) == len("2024-01-31")
        at = ts[:10] == self.ts if day else _moment(ts) == _moment(self.ts)
        return symbol == self.symbol and at and self.rule in (ALL_RULES, rule) and self.source in ("", source)


class QuarantineStore:
    """One Parquet file a table, over all sources; a finding, once made, stays, and a release is kept over re-validations."""

    def __init__(self, root: UPath, table: str = BARS) -> None:
        self._path = root / layout.quarantine_file(table)
        self._releases = root / layout.quarantine_releases(table)

    def read(self, source: str | None = None) -> pa.Table:
        """All findings, or those of a source."""
        rows = _with_all_columns(read_parquet(self._path)) if self._path.exists() else arrow_schema(QUARANTINE).empty_table()
        return rows if source is None else rows.filter(pc.equal(rows.column("source"), source))

    def add(self, findings: pa.Table) -> int:
        """Add findings that are not there yet; returns how many were new."""
        findings = conform(_with_all_columns(findings), QUARANTINE)
        with exclusive(self._path):
            known = self.read()
            seen = set(_keys(known))
            fresh = [position for position, key in enumerate(_keys(findings)) if not (key in seen or seen.add(key))]  # type: ignore[func-returns-value]
            if fresh or not self._path.exists():
                write_atomic(self._path, parquet_bytes(pa.concat_tables([known, findings.take(pa.array(fresh, pa.int64()))])))
        return len(fresh)

    def release(self, choice: Choice, *, person: str, reason: str, at: datetime) -> int:
        """Let rows back in; they count from the next validation on. Returns how many findings that changed."""
        return self._mark(choice, person=person, reason=reason, at=at, released=True)

    def unrelease(self, choice: Choice, *, person: str, reason: str, at: datetime) -> int:
        """Hold released rows back again, from the next validation on. Returns how many findings that changed."""
        return self._mark(choice, person=person, reason=reason, at=at, released=False)

    def released(self, source: str) -> set[tuple[str, str, str]]:
        """(symbol, ts, rule) of error rows a person let back in."""
        rows = self.read(source)
        kept = rows.filter(pc.and_(rows.column("released"), pc.equal(rows.column("severity"), "error")))
        return {(symbol, ts, rule) for _, symbol, ts, rule, _ in _keys(kept)}

    def history(self) -> list[Release]:
        """Every release and its taking back, oldest first."""
        lines = self._releases.read_bytes().splitlines() if self._releases.exists() else []
        try:
            return [msgspec.json.decode(line, type=Release) for line in lines]
        except msgspec.DecodeError as error:
            message = f"{self._releases.name} is damaged: {error}"
            raise DataInvalid(message, mend=f"restore {self._releases.name} from a backup") from error

    def _mark(self, choice: Choice, *, person: str, reason: str, at: datetime, released: bool) -> int:
        """Set the flag of errors that have it otherwise; the record of who and why is durable before the flag changes."""
        if not (person.strip() and reason.strip()):
            message = "a release needs a person and a reason"
            raise DataInvalid(message, mend='make release SYMBOL=... TS=... RULE=... REASON="why the row is right"')
        with exclusive(self._path):
            rows = self.read()
            flags, severity = rows.column("released").to_pylist(), rows.column("severity").to_pylist()
            keys = _keys(rows)
            meant = [place for place, key in enumerate(keys) if severity[place] == "error" and choice.covers(key)]
            if not meant:
                message = f"nothing is held of {choice.symbol} at {choice.ts} by the rule {choice.rule}"
                raise DataInvalid(message, mend=f"make quarantine SYMBOL={choice.symbol}")
            changed = [place for place in meant if flags[place] != released]
            made = [_release(keys[place], at, person, "release" if released else "unrelease", reason) for place in changed]
            content = self._releases.read_bytes() if self._releases.exists() else b""
            write_atomic(self._releases, content + b"".join(msgspec.json.encode(line) + b"\n" for line in made))
            for place in changed:
                flags[place] = released
            position = rows.schema.get_field_index("released")
            write_atomic(self._path, parquet_bytes(rows.set_column(position, rows.schema.field("released"), pa.array(flags, pa.bool_()))))
        return len(changed)


def _release(key: Key, at: datetime, person: str, action: str, reason: str) -> Release:
    source, symbol, ts, rule, instrument = key
    return Release(
        at=at.isoformat(),
        person=person,
        action=action,
        reason=reason,
        source=source,
        symbol=symbol,
        ts=ts,
        rule=rule,
        instrument=instrument,
    )


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is no day and no time"
        raise DataInvalid(message, mend="write TS=2024-01-31, or TS=2024-01-31T21:00:00Z") from error


def _with_all_columns(rows: pa.Table) -> pa.Table:
    """Findings written before they had an instrument and evidence: the instrument is the symbol, the evidence none."""
    made: dict[str, Callable[[], pa.Array]] = {
        "instrument": lambda: rows.column("symbol"),
        "evidence": lambda: pa.repeat(pa.scalar("{}"), rows.num_rows),
    }
    for name, values in made.items():
        if name not in rows.column_names:
            rows = rows.append_column(arrow_schema(QUARANTINE).field(name), values())
    return rows


def _keys(rows: pa.Table) -> list[Key]:
    """Keys of findings, the time as RFC 3339 text."""
    columns = [rows.column(name).to_pylist() for name in QUARANTINE.key]
    return [(source, symbol, ts.isoformat(), rule, of) for source, symbol, ts, rule, of in zip(*columns, strict=True)]
