"""``make demo``: the whole product on real prices, offline: research as of each cut, gate, alias, and an executor that trades on.

At each cut only what was known then is researched; the executor then trades to the next cut on one journal and one account.
While it trades, the next cut is researched: the alias moves only after it has finished.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")  # vendors read these when they are imported
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

from hedgefund_core import layout
from hedgefund_core.errors import ConfigError, DataInvalid, HedgefundError
from hedgefund_dagster.demo_children import Executor, Proof, ReplayProof, RunSummary
from hedgefund_dagster.demo_screen import Screen

if TYPE_CHECKING:
    from hedgefund_dagster.books import Book
    from hedgefund_dagster.demo_loop import Pipeline
    from hedgefund_dagster.settings import Settings

INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReplay:
    """A short replay of the raw-price names across a real split."""

    name: str
    cut: str
    last: str
    says: str


SPLITS = (
    SplitReplay(name="2003", cut="2003-01-15", last="2003-03-14", says="MSFT 2:1 on 2003-02-18"),
    SplitReplay(name="2005", cut="2005-01-14", last="2005-03-24", says="AAPL 2:1 on 2005-02-28"),
)
SPLIT_CASH = "50000000"
"""Large enough that an auction's volume fills an order only in part."""


@dataclass(slots=True, kw_only=True)
class Proofs:
    """What the executor proved of one account."""

    account: str
    replay: ReplayProof
    reconciled: bool
    audited: bool

    @property
    def ok(self) -> bool:
        """Whether all three hold."""
        return self.replay.ok and self.reconciled and self.audited


@dataclass(slots=True, kw_only=True)
class Demo:
    """One run of the demo."""

    screen: Screen
    settings: Settings
    pipeline: Pipeline
    executor: Executor
    book: Book
    mandate: str
    account: str
    data: Path
    cuts: list[str] = field(default_factory=list)
    proofs: list[Proofs] = field(default_factory=list)

    def run(self) -> None:
        """Everything, in order."""
        self.prices()
        self.loop()
        if self.book.source == "bundled_sp500":
            self.across_splits()
        self.prove()
        self.report()

    def prices(self) -> None:
        """Prices to features, with every check."""
        from hedgefund_core.backtest.models_settings import ModelsSettings
        from hedgefund_dagster.demo_loop import cuts_of, refuse_too_little

        with self.screen.stage("prices", f"ingest, validate, features of {self.book.source}"):
            self.pipeline.prices_to_features(self.book.source)
        panel, manifest = self.pipeline.lake.read_panel(self.book.source), self.pipeline.lake.panel_manifest(self.book.source)
        self.screen.say(
            f"  {panel.shape[1]} symbols, {panel.shape[0]} sessions to {panel.sessions[-1]}, {manifest.quarantined} rows quarantined; "
            f"{manifest.price_kind} prices in {manifest.currency}, calendar {manifest.calendar}, benchmark {manifest.benchmark_name}"
        )
        for name, direction in manifest.biases:
            self.screen.say(f"  [dim]bias: {name}: {direction}[/dim]")
        refuse_too_little(panel)
        self.cuts = cuts_of(panel, self.settings.load("models", ModelsSettings).cut_every_sessions)

    def loop(self) -> None:
        """Research, gate, alias, trade: cut after cut. The next cut is researched while the executor trades the last one."""
        from hedgefund_dagster.demo_loop import next_session

        panel = self.pipeline.lake.read_panel(self.book.source)
        ends = [*self.cuts[1:], str(panel.sessions[-1])]
        running = None
        for number, (cut, end) in enumerate(zip(self.cuts, ends, strict=True), start=1):
            with self.screen.stage("research", f"cut {number} of {len(self.cuts)}: research and gate as of {cut}"):
                self.pipeline.research(self.book, self.mandate, cut, tear_sheet=number == len(self.cuts))
            if running is not None:
                with self.screen.stage("trade", f"executor, which traded to {cut} meanwhile: waited for"):
                    running.answer(RunSummary)
            with self.screen.stage("promote", f"cut {number}: signed bundle, alias"):
                self.pipeline.promote(self.book, self.mandate, cut)
            self.screen.say(f"  {self._promotion(cut)}")
            first = next_session(panel, cut)
            running = self.executor.start("run", *self._replay(self.account, self.book.source, first, end))
        if running is not None:
            with self.screen.stage("trade", f"executor trades to {ends[-1]}"):
                running.answer(RunSummary)

    def across_splits(self) -> None:
        """Raw prices with opens and volumes: splits change quantities, auctions fill in part. Accounts of their own."""
        from hedgefund_dagster.books import BOOKS
        from hedgefund_dagster.demo_loop import next_session

        book = BOOKS["ohlcv"]
        with self.screen.stage("prices", f"ingest, validate, features of {book.source}"):
            self.pipeline.prices_to_features(book.source)
        panel = self.pipeline.lake.read_panel(book.source)
        for split in SPLITS:
            with self.screen.stage("splits", f"five raw-price names across {split.says}"):
                self.pipeline.research(book, book.mandate, split.cut, rule_only=True)
                self.pipeline.promote(book, book.mandate, split.cut, rule_only=True)
                account = f"{self.account}-splits-{split.name}"
                env = {
                    "HEDGEFUND_TRADING__MANDATE": book.mandate,
                    "HEDGEFUND_TRADING__ALIAS": book.alias(layout.CHAMPION),
                    "HEDGEFUND_TRADING__INITIAL_CASH": SPLIT_CASH,
                }
                first = next_session(panel, split.cut)
                self.executor.start("run", *self._replay(account, book.source, first, split.last), env=env).answer(RunSummary)

    def prove(self) -> None:
        """Replay, reconcile and audit of every account, each by a fresh process."""
        from hedgefund_core.bundle import MANIFEST  # noqa: F401 - loads the core before three children do

        accounts = [f"{self.account}-splits-{split.name}" for split in SPLITS] if self.book.source == "bundled_sp500" else []
        for account in [*accounts, self.account]:
            with self.screen.stage("prove", f"replay --verify, reconcile, audit verify of {account}"):
                env = {} if account == self.account else {"HEDGEFUND_TRADING__MANDATE": "long_only"}
                replay = self.executor.start("replay", "--verify", "--account", account, env=env)
                audit = self.executor.start("audit", "verify", "--account", account, env=env)
                audited = audit.answer(Proof, may_fail=True).ok
                reconciled = self.executor.start("reconcile", "--account", account, env=env).answer(Proof, may_fail=True).ok
                proof = replay.answer(ReplayProof, may_fail=True)
                self.proofs.append(Proofs(account=account, replay=proof, reconciled=reconciled, audited=audited))
                self.pipeline.post_trade(account)
        (self.data / layout.LAST_ACCOUNT).write_text(f"{self.account}\n")  # what `executor status` shows

    def report(self) -> None:
        """The table, demo.json and the tear sheet."""
        from hedgefund_dagster.demo_report import demo_report, show

        sheet = self.data / layout.REPORTS / f"tear_sheet_{self.book.name}.html"
        shutil.copyfile(sheet, self.data / layout.TEAR_SHEET)
        report = demo_report(self)
        show(self.screen, report, self)

    def _promotion(self, cut: str) -> str:
        from hedgefund_dagster.defs.promotion.promote import Promotion
        from hedgefund_dagster.defs.training.records import folder, read_record

        made = read_record(self.pipeline.lake, f"{folder(self.book.name, self.mandate, cut)}/champion.json", Promotion)
        return f"{made.champion} version {made.champion_version}: {made.reason}"

    def _replay(self, account: str, source: str, first: str, last: str) -> tuple[str, ...]:
        words = ("--mode", "replay", "--broker", "simulated", "--feed", "replay", "--account", account, "--source", source)
        return (*words, "--from", first, "--to", last)


def prepare(arguments: argparse.Namespace, screen: Screen, checker: Executor) -> Demo:
    """Read the settings, then import what is heavy, once for all runs of this process. ``checker`` runs meanwhile; the caller stops it."""
    with screen.stage("start", "check the configuration, load Dagster and the numerical libraries"):
        validated = checker.start("config", "validate")  # while the imports take their seconds
        from hedgefund_dagster.books import book_of
        from hedgefund_dagster.demo_loop import Pipeline, TradingChoice, instance, new_account
        from hedgefund_dagster.settings import SettingsResource, data_folder, opened_lake

        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # it prints a traceback for a connection that Ctrl-C closes
        settings = SettingsResource().open()
        source = arguments.source or settings.universe.source
        settings.source(source)  # an unknown name ends here
        validated.answer(Proof)  # and a misspelt key of any file
        data = data_folder(os.environ)
        return Demo(
            screen=screen,
            settings=settings,
            pipeline=Pipeline(instance=instance(), lake=opened_lake()),
            executor=Executor(env={"HEDGEFUND_UNIVERSE__SOURCE": source}),
            book=book_of(source),
            mandate=settings.load("trading", TradingChoice).mandate,
            account=new_account(data),
            data=data,
        )


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Arguments; a wrong one ends with exit code 2."""
    parser = argparse.ArgumentParser(prog="demo", description="The whole product on real prices, offline and without a key.")
    parser.add_argument("--source", default="", help="bundled_sp500 (default), or files with --dir")
    parser.add_argument("--dir", default="", help="folder of CSV or Parquet files: symbol, date, close[, open, high, low, volume]")
    given = parser.parse_args(argv)
    if given.dir:
        given.source = given.source or "files"
        os.environ["HEDGEFUND_SOURCES__FILES__FOLDER"] = str(Path(given.dir).resolve())
    return given


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns its exit code."""
    arguments = parsed(sys.argv[1:] if argv is None else argv)
    screen, checker, executor = Screen(), Executor(env={}), None
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if arguments.dir and arguments.source != "files":
            raise ConfigError("--dir belongs to --source files", mend="make demo SOURCE=files DIR=...")
        if arguments.source == "files" and arguments.dir and not Path(arguments.dir).is_dir():
            raise DataInvalid(f"{arguments.dir} is no folder", mend="name a folder of CSV or Parquet files: make demo SOURCE=files DIR=...")
        demo = prepare(arguments, screen, checker)
        executor = demo.executor
        demo.run()
    except HedgefundError as error:
        screen.say(f"[red]error:[/red] {error.message}")
        if error.mend:
            screen.say(f"  mend: {error.mend}")
        return error.exit_code
    except OSError as error:  # a full disk, a folder that cannot be written
        screen.say(f"[red]error:[/red] {error}")
        screen.say("  mend: free disk space, make the folder writable, or set HEDGEFUND_DATA_DIR to another one; then make demo again")
        return 1
    except KeyboardInterrupt:
        screen.say("interrupted: what was journaled is safe; the next `make demo` uses a new account")
        return INTERRUPTED
    finally:
        checker.stop()
        if executor is not None:
            executor.stop()
    return 0 if all(proof.ok for proof in demo.proofs) else 1


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
