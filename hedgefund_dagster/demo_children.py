"""The executor as the demo sees it: a child process in its own group, stopped with the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TypeVar

import msgspec

from hedgefund_core.errors import BrokerUnavailable, ConfigError, DataInvalid, Halted, HedgefundError, ModelUnavailable

T = TypeVar("T", bound=msgspec.Struct)
_STOP_SECONDS = 20


BY_EXIT_CODE: Mapping[int, type[HedgefundError]] = {
    3: ConfigError,
    4: DataInvalid,
    5: Halted,
    6: BrokerUnavailable,
    7: ModelUnavailable,
}
"""A child's exit code as the error it stands for, so that the demo ends with the same one."""


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """`executor run --json`."""

    account: str
    session: str
    state: str
    sessions: int
    orders: int
    denied: int
    fills: int
    ended: str


class ReplayProof(msgspec.Struct, frozen=True, kw_only=True):
    """`executor replay --verify --json`."""

    ok: bool
    decisions: int
    orders: int


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """`executor reconcile --json` and `executor audit verify --json`."""

    ok: bool


@dataclass(slots=True, kw_only=True)
class Child:
    """A started command of the executor; what it prints goes to files, so that it never waits for a reader."""

    words: str
    process: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]

    def answer(self, kind: type[T], *, may_fail: bool = False) -> T:
        """Wait, and decode what it printed. ``may_fail``: an exit code other than 0 is an answer too, not an error."""
        code = self.process.wait()
        out, err = _content(self.out), _content(self.err)
        if code and not (may_fail and out.strip()):
            lines = [line for line in err.decode(errors="replace").strip().splitlines() if line.strip()]
            message = f"`{self.words}` ended with exit code {code}: {' '.join(lines[-4:]) or 'no reason given'}"
            raise BY_EXIT_CODE.get(code, HedgefundError)(message, mend=f"run `{self.words}` by hand to see more")
        try:
            return msgspec.json.decode(out, type=kind)
        except msgspec.MsgspecError as error:
            message = f"`{self.words}` printed something else than its JSON: {error}"
            raise HedgefundError(message, mend="report this: the shapes of --json are public") from error


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    with file:
        return file.read()


@dataclass(slots=True, kw_only=True)
class Executor:
    """Starts commands of the executor with the environment of this demo, and stops them all."""

    env: Mapping[str, str]
    children: list[Child] = field(default_factory=list)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Child:
        """Start ``executor ARGUMENTS --json`` in its own process group."""
        command: Sequence[str] = (sys.executable, "-m", "live_executor", *arguments, "--json")
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed by the child's `answer`
        process = subprocess.Popen(
            command,
            env={**os.environ, **self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        child = Child(words="executor " + " ".join(arguments), process=process, out=out, err=err)
        self.children.append(child)
        return child

    def stop(self) -> None:
        """Ask every child that still runs to end (it finishes the step at hand), then insist."""
        running = [child.process for child in self.children if child.process.poll() is None]
        for process in running:
            os.killpg(process.pid, signal.SIGINT)
        for process in running:
            try:
                process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
