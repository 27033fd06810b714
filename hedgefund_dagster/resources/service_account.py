"""As whom a database server runs: PostgreSQL refuses root, so root lends it another name without opening any folder."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hedgefund_core.errors import ConfigError

_STAND_IN = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How programs are started and who owns their files; ``uid`` None = who we are."""

    programs: Path
    wrapper: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def program(self, name: str) -> str:
        """Path of a program."""
        return str(self.programs / name)

    def own(self, folder: Path) -> None:
        """Give a folder and what is in it to the account, if it belongs to another."""
        owner = os.geteuid() if self.uid is None else self.uid
        group = os.getegid() if self.gid is None else self.gid
        for path in (folder, *folder.rglob("*")):
            if path.lstat().st_uid != owner:
                os.chown(path, owner, group, follow_symlinks=False)

    def run(self, command: Sequence[str], log: IO[bytes], *, timeout: float) -> None:
        """Run to the end; raises subprocess.SubprocessError if it fails or takes too long."""
        process = self.popen(command, log)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        if code:
            raise subprocess.CalledProcessError(code, command[0])

    def popen(self, command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start in a session of its own: Ctrl-C in our terminal is for us to hand on."""
        whole = [*self.wrapper, *command]
        return subprocess.Popen(
            whole,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            env=_plain(),
        )


def account_for(folder: Path, programs: Path) -> Account:
    """Ourselves; as root a user namespace in which root is called nobody, else the account nobody, if it can reach the files.

    Raises ConfigError where neither is possible: no folder is opened to others to make it so.
    """
    if os.geteuid() != 0:
        return Account(programs=programs)
    entry = pwd.getpwnam(_STAND_IN)
    unshare = shutil.which("unshare")
    if unshare is not None:
        wrapper = (unshare, "--user", f"--map-user={entry.pw_uid}", f"--map-group={entry.pw_gid}", "--")
        if subprocess.run([*wrapper, str(programs / "postgres"), "--version"], check=False, capture_output=True).returncode == 0:
            return Account(programs=programs, wrapper=wrapper)
    closed = _closed(folder)
    if not closed:
        reachable = _copied(programs, folder / "programs") if _closed(programs / "postgres") else programs
        return Account(programs=reachable, uid=entry.pw_uid, gid=entry.pw_gid)
    message = f"PostgreSQL does not run as root, and {_STAND_IN} cannot reach {closed[0]}"
    raise ConfigError(message, mend=f"run as another user, or let others pass through: chmod o+x {closed[0]}")


def _closed(path: Path) -> list[Path]:
    """Folders above through which others cannot pass."""
    return [above for above in path.parents if not above.stat().st_mode & stat.S_IXOTH]


def _copied(programs: Path, place: Path) -> Path:
    """The programs and their libraries, which they look for at the same distance, where the account can reach them."""
    package = programs.parents[1]
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.exists() and not (place / source.name).exists():
            shutil.copytree(source, place / source.name, ignore=shutil.ignore_patterns("include", "*.py", "__pycache__"))
    return place / programs.relative_to(package.parent)


def _plain() -> dict[str, str]:
    """No variable of ours or of libpq's may change what the server does."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "HEDGEFUND_", "LC_", "LANG"))}
