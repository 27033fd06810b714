"""The demo's steps: Dagster in this process, the executor as a child on its journal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import msgspec
import numpy as np
from dagster._core.errors import DagsterAssetCheckFailedError, DagsterExecutionInterruptedError
from dagster._core.utils import make_new_run_id

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid, HedgefundError
from hedgefund_core.quant.bars import Panel
from hedgefund_dagster.automation import refuse_failed_checks
from hedgefund_dagster.books import Book
from hedgefund_dagster.definitions import defs
from hedgefund_dagster.defs.ingest.automation import keys_of
from hedgefund_dagster.defs.sourced import all_facts
from hedgefund_dagster.partitions import whole_range_tags
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.settings import data_folder

RESEARCH = ("walk_forward", "backtest", "gate_verdict")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
MINIMUM_SYMBOLS, MINIMUM_YEARS, TRADED_SESSIONS = 8, 3.0, 250


class TradingChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The one key of config/trading.yaml that research must agree on; the executor refuses unknown ones."""

    mandate: str


def instance() -> dg.DagsterInstance:
    """The instance that `make dev` shows: dagster.yaml beside the packages, state under the data folder."""
    home = Path(__file__).resolve().parents[1]
    if not os.environ.get("DAGSTER_HOME") and (home / "dagster.yaml").exists():
        os.environ["DAGSTER_HOME"] = str(home)
    if os.environ.get("DAGSTER_HOME"):
        return dg.DagsterInstance.get()
    state = data_folder(os.environ) / "dagster"
    state.mkdir(parents=True, exist_ok=True)
    return dg.DagsterInstance.local_temp(str(state))


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """Materializes assets in this process; an error of ours comes out as itself."""

    instance: dg.DagsterInstance
    lake: Lake

    def run(
        self,
        keys: Sequence[dg.AssetKey],
        *,
        config: dict[str, object] | None = None,
        tags: dict[str, str] | None = None,
        run_id: str = "",
    ) -> None:
        """Materialize ``keys`` with their checks; raises DataInvalid where a blocking check fails."""
        job = defs.resolve_implicit_global_asset_job_def()
        ops = {_op(key): {"config": config} for key in keys} if config is not None else {}
        run_id = run_id or make_new_run_id()
        try:
            job.execute_in_process(
                instance=self.instance,
                asset_selection=list(keys),
                run_config={**QUIET, "ops": _without_extra(ops)},
                tags=tags or {},
                run_id=run_id,
            )
        except DagsterExecutionInterruptedError as error:  # what Dagster makes of Ctrl-C
            raise KeyboardInterrupt from error
        except DagsterAssetCheckFailedError:  # says only which check blocked; what it found is told below
            refuse_failed_checks(self.instance, run_id)
            raise
        except dg.DagsterError as error:
            raise _ours(error) from error
        refuse_failed_checks(self.instance, run_id)

    def prices_to_features(self, source: str) -> None:
        """Ingest, validation, features with all their checks, in one run over all partitions."""
        facts = next(facts for facts in all_facts() if facts.name == source)
        self.run(keys_of(source), tags={"source": source, **whole_range_tags(facts.partitioning)})

    def research(self, book: Book, mandate: str, cut: str, *, rule_only: bool = False, tear_sheet: bool = False) -> None:
        """Walk-forward, backtest and verdict of a cut."""
        config: dict[str, object] = {"cut": cut, "mandate": mandate, "rule_only": rule_only, "tear_sheet": tear_sheet}
        self.run([dg.AssetKey([book.name, step]) for step in RESEARCH], config=config, tags={"book": book.name, "cut": cut})

    def promote(self, book: Book, mandate: str, cut: str, *, rule_only: bool = False) -> None:
        """Signed bundles and aliases of a cut."""
        config: dict[str, object] = {"cut": cut, "mandate": mandate, "rule_only": rule_only}
        self.run([dg.AssetKey([book.name, "champion"])], config=config, tags={"book": book.name, "cut": cut})

    def post_trade(self, account: str) -> None:
        """Tables and report of an account."""
        keys = [dg.AssetKey(["account", name]) for name in ("journal_frames", "fills", "marks", "post_trade_report")]
        self.run(keys, config={"account": account}, tags={"account": account})


def _op(key: dg.AssetKey) -> str:
    return "__".join(key.path)


def _without_extra(ops: dict[str, dict[str, dict[str, object]]]) -> dict[str, object]:
    """Only the backtest draws: the other assets of a research run know no ``tear_sheet``."""
    return {
        op: {"config": {name: value for name, value in given["config"].items() if name != "tear_sheet" or op.endswith("__backtest")}}
        for op, given in ops.items()
    }


def _ours(error: BaseException) -> HedgefundError:
    """The error of ours inside a Dagster error, or that error's words."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, HedgefundError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return HedgefundError(f"a run failed: {error}", mend="make dev, then look at the run in Dagster")


def cuts_of(panel: Panel, every: int) -> list[str]:
    """Cuts each ``every`` sessions so that at least 250 sessions follow the first; the last segment ends with the data."""
    segments = -(-TRADED_SESSIONS // every)
    first = panel.shape[0] - 1 - segments * every
    return [str(panel.sessions[first + k * every]) for k in range(segments)]


def refuse_too_little(panel: Panel) -> None:
    """The whole demo needs 8 symbols and three years besides the 250 sessions that are traded; says what is missing."""
    missing = []
    if panel.shape[1] < MINIMUM_SYMBOLS:
        missing.append(f"{panel.shape[1]} symbols of at least {MINIMUM_SYMBOLS}")
    needed = int(np.ceil(MINIMUM_YEARS * panel.sessions_per_year)) + TRADED_SESSIONS
    if panel.shape[0] < needed:
        missing.append(f"{panel.shape[0]} sessions of at least {needed} (three years and {TRADED_SESSIONS})")
    if missing:
        message = f"{panel.source} is too small for the whole demo: {'; '.join(missing)}"
        raise DataInvalid(message, mend="add symbols or history to the folder; `make dev` still ingests and validates what is there")


def next_session(panel: Panel, cut: str) -> str:
    """The session after a cut."""
    return str(panel.sessions[int(np.searchsorted(panel.sessions, np.datetime64(cut, "D"))) + 1])


def new_account(data: Path) -> str:
    """``demo-1``, ``demo-2``, …: an account folder is never used twice."""
    taken = [path.name for path in (data / layout.LIVE).glob("demo-*")] if (data / layout.LIVE).exists() else []
    numbers = [int(name.split("-")[1]) for name in taken if name.split("-")[1].isdigit()]
    return f"demo-{max(numbers, default=0) + 1}"
