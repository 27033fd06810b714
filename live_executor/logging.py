"""Log lines: JSON into the account's folder, warnings in plain words to the terminal. No secret is ever an argument."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

import structlog
from structlog.typing import EventDict, Processor

LOG_FILE = "executor.log"
_MOST_BYTES, _BACKUPS = 32 << 20, 4
"""A full log goes on in a fresh file, and the oldest is given up: weeks of a broker that is away must not fill the journal's disk."""
logging.raiseExceptions = False
"""A log that cannot be written (a full disk, a closed terminal) ends nothing and prints nothing of its own."""
_SHARED: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configure(folder: Path, *, verbose: bool = False) -> None:
    """Write events to ``folder`` from now on."""
    folder.mkdir(parents=True, exist_ok=True)
    file = RotatingFileHandler(folder / LOG_FILE, maxBytes=_MOST_BYTES, backupCount=_BACKUPS, encoding="utf-8")
    file.setFormatter(structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer(), foreign_pre_chain=_SHARED))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.INFO if verbose else logging.WARNING)
    plain: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _without_traceback, _console()]
    terminal.setFormatter(structlog.stdlib.ProcessorFormatter(processors=plain, foreign_pre_chain=_SHARED))
    root = logging.getLogger("live_executor")
    root.handlers, root.propagate = [file, terminal], False
    root.setLevel(logging.INFO)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _without_traceback(_logger: object, _name: str, event: EventDict) -> EventDict:
    """The file keeps it; a person is told what happened."""
    event.pop("exception", None)
    return event


def _console() -> Processor:
    return structlog.dev.ConsoleRenderer(colors=False)


def _until_configured() -> None:
    """A command that only looks says what is wrong on the terminal's error side: its answer, often JSON, is all that goes to the other."""
    structlog.configure(
        processors=[*_SHARED, _console()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=lambda *_names: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


_until_configured()


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of this package."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(f"live_executor.{name}")
    return bound
