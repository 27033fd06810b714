"""``python -m live_executor.models.child``: resolves the alias, verifies the bundle and keeps a copy, in a process of its own.

So the trading process neither imports MLflow nor waits for its registry. The child prints ``{"digest": …}`` of the bundle that may trade.
Exit 7: there is none, or the registry is away. Exit 4: the bundle is refused. The last line on standard error is the reason. The trading
process starts it with `ask`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from pathlib import Path

import msgspec

from hedgefund_core.errors import HedgefundError, ModelMismatch, ModelUnavailable
from hedgefund_core.layout import LIVE, account_folder
from live_executor.clock import SystemClock
from live_executor.models import MODEL_SOURCES
from live_executor.models.loader import Admitted, admit
from live_executor.models.trust import trusted_verifier
from live_executor.ports import UNREADABLE
from live_executor.settings import Settings, read_settings

TIMEOUT_SECONDS = 150.0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the child found."""

    digest: str


def newest(settings: Settings, account: str, bundle: Path | None) -> Admitted:
    """The bundle behind the alias, admitted to the account; raises ModelUnavailable or ModelMismatch."""
    store = settings.data / account_folder(account) / "bundles"
    alias = settings.trading.alias
    try:
        folder = MODEL_SOURCES["mlflow" if bundle is None else "folder"](settings.data, bundle).current(alias)
        return admit(folder, store, trusted_verifier(settings.keys), on=SystemClock().now().date(), alias=alias)
    finally:
        shutil.rmtree(settings.data / LIVE / ".incoming" / str(os.getpid()), ignore_errors=True)


async def ask(settings: Settings, account: str, bundle: Path | None) -> str:
    """Digest of the bundle that carries the alias now, asked for in a child process; raises ModelUnavailable or ModelMismatch.

    A child that cannot be started, or whose output cannot be read, counts as a registry that is away: the model in use stays.
    """
    command = [sys.executable, "-m", "live_executor.models.child", "--account", account]
    command += [] if bundle is None else ["--bundle", str(bundle)]
    env = {**os.environ, "HEDGEFUND_DATA_DIR": str(settings.data), "HEDGEFUND_CONFIG_DIR": str(settings.config)}
    pipe = asyncio.subprocess.PIPE
    try:
        child = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=env)
    except OSError as error:
        message = f"the child that asks for models cannot be started: {error}"
        raise ModelUnavailable(message) from error
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            said, told = await child.communicate()
    except TimeoutError as error:
        message = f"the model registry did not answer within {TIMEOUT_SECONDS:.0f} s"
        raise ModelUnavailable(message, mend="check data/mlflow.db") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode == 0:
        try:
            return msgspec.json.decode(said, type=Found).digest
        except UNREADABLE as error:
            message = f"the child that asks for models said something else: {error}"
            raise ModelUnavailable(message) from error
    reason = (told.decode(errors="replace").strip().splitlines() or [f"the child that asks for models ended with {child.returncode}"])[-1]
    raise (ModelMismatch if child.returncode == ModelMismatch.exit_code else ModelUnavailable)(reason)


def main() -> int:
    """Entry of the child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--account", required=True)
    parser.add_argument("--bundle", type=Path)
    given = parser.parse_args()
    try:
        found = newest(read_settings(), given.account, given.bundle)
    except HedgefundError as error:
        sys.stderr.write(f"{' '.join(error.message.split())}\n")
        return error.exit_code
    sys.stdout.write(msgspec.json.encode(Found(digest=found.bundle.digest)).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
