"""Data Docs: Great Expectations' own pages of the latest outcome of every suite, in ``data/reports/data_docs``, on loopback.

A check keeps its outcome; pages are built when they are asked for, because building takes longer than checking. ``make dev`` serves
them (``python -m hedgefund_dagster.data_docs --port 3001``), and the checks in Dagster's UI link to them.
"""

from __future__ import annotations

import argparse
import html
import os
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hedgefund_core import layout
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.settings import data_folder

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.data_context.store import ValidationResultsStore

HOST, DATA_DOCS_PORT = "127.0.0.1", 3001
ADDRESS = "HEDGEFUND_DATA_DOCS_URL"
_OUTCOMES = ".outcomes"
_BUILDING = threading.Lock()


class Counts(msgspec.Struct, frozen=True):
    """Of a kept outcome."""

    evaluated_expectations: int
    successful_expectations: int


class Outcome(msgspec.Struct, frozen=True):
    """What is read of a kept outcome."""

    success: bool
    statistics: Counts


def page_address(suite: str, env: Mapping[str, str]) -> str:
    """Where a browser finds the latest page of a suite."""
    return f"{env.get(ADDRESS) or f'http://{HOST}:{DATA_DOCS_PORT}'}/latest/{suite}"


def keep_outcome(data: Path, suite: str, outcome: ExpectationSuiteValidationResult) -> None:
    """Keep a suite's outcome in place of its last one."""
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier, ValidationResultIdentifier

    folder = data / layout.DATA_DOCS / _OUTCOMES
    shutil.rmtree(folder.joinpath(*suite.split(".")), ignore_errors=True)
    run = RunIdentifier(run_name="latest", run_time=ClockResource().now())
    outcome.suite_name = suite
    outcome.meta["run_id"] = run
    key = ValidationResultIdentifier(expectation_suite_identifier=ExpectationSuiteIdentifier(suite), run_id=run, batch_identifier=suite)
    _store(folder).set(key, outcome)


def _store(folder: Path) -> ValidationResultsStore:
    from great_expectations.data_context.store import ValidationResultsStore

    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder), "filepath_suffix": ".json"}
    return ValidationResultsStore(store_name="outcomes", store_backend=backend, runtime_environment={"root_directory": str(folder)})


def build(data: Path) -> Path:
    """Build the pages of every outcome that is kept; returns the folder."""
    import great_expectations as gx

    site = data / layout.DATA_DOCS
    for old in ("validations", "expectations"):
        shutil.rmtree(site / old, ignore_errors=True)
    context = gx.get_context(mode="ephemeral")
    context.stores[context.validation_results_store_name] = _store(site / _OUTCOMES)
    pages = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)}
    index = {"class_name": "DefaultSiteIndexBuilder", "show_cta_footer": False}
    context.add_data_docs_site("local", {"class_name": "SiteBuilder", "store_backend": pages, "site_index_builder": index})
    context.build_data_docs(site_names=["local"])
    return site


def stale(data: Path) -> bool:
    """Whether an outcome is newer than the pages."""
    site = data / layout.DATA_DOCS
    kept = [path.stat().st_mtime for path in (site / _OUTCOMES).rglob("*.json")]
    index = site / "index.html"
    return bool(kept) and (not index.exists() or index.stat().st_mtime < max(kept))


def latest_page(data: Path, suite: str) -> str:
    """Path of a suite's page below the folder; the index where there is none."""
    site = data / layout.DATA_DOCS
    names = [name for name in suite.split(".") if name.replace("_", "").isalnum()]
    pages = sorted(site.joinpath("validations", *names).glob("*/*/*.html")) if names else []
    return str(pages[-1].relative_to(site)) if pages else "index.html"


def overview(data: Path) -> str:
    """Every suite with its outcome and a link: Great Expectations' own index draws its list with scripts of other hosts."""
    rows = []
    for path in sorted((data / layout.DATA_DOCS / _OUTCOMES).rglob("*.json")):
        suite, outcome = path.name.removesuffix(".json"), msgspec.json.decode(path.read_bytes(), type=Outcome)
        verdict = "all expectations hold" if outcome.success else "failed"
        counts = f"{outcome.statistics.successful_expectations} of {outcome.statistics.evaluated_expectations}"
        name = html.escape(suite)
        rows.append(f"<tr><td><a href='/latest/{name}'>{name}</a></td><td>{verdict}</td><td>{counts}</td><td>{path.parent.name}</td></tr>")
    head = "<tr><th>suite</th><th>outcome</th><th>expectations</th><th>run</th></tr>"
    table = f"<table border='1' cellpadding='6'>{head}{''.join(rows)}</table>" if rows else "<p>No suite has run yet.</p>"
    style = "<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}</style>"
    return f"<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>Data Docs</title>{style}<h1>Data Docs</h1>{table}</html>"


class Pages(SimpleHTTPRequestHandler):
    """The folder, built anew when an outcome has come; ``/latest/<suite>`` leads to a suite's page."""

    def __init__(self, *arguments: object, data: Path, **named: object) -> None:
        self._data = data
        super().__init__(*arguments, directory=str(data / layout.DATA_DOCS), **named)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """A page, the way to one, or that we are there."""
        if self.path == "/health":
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with _BUILDING:
            if stale(self._data):
                build(self._data)
        if self.path == "/":
            page = overview(self._data).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)
            return
        if self.path.startswith("/latest/"):
            self.send_response(302)
            self.send_header("Location", f"/{latest_page(self._data, self.path.removeprefix('/latest/'))}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        """Folders are not listed: the index is the way in."""
        del path
        self.send_error(404, "no such page: run a check first (materialize an asset)")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name of the base class
        """Pages read are not worth a log."""


def server(data: Path, port: int) -> ThreadingHTTPServer:
    """The server, listening on loopback only."""
    return ThreadingHTTPServer((HOST, port), partial(Pages, data=data))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped, or build once."""
    parser = argparse.ArgumentParser(prog="python -m hedgefund_dagster.data_docs", description="Great Expectations' Data Docs on loopback.")
    parser.add_argument("--port", type=int, default=DATA_DOCS_PORT)
    parser.add_argument("--build", action="store_true", help="build the pages and end")
    given = parser.parse_args(argv)
    data = data_folder(os.environ)
    if given.build:
        sys.stdout.write(f"{build(data) / 'index.html'}\n")
        return 0
    with server(data, given.port) as serving:
        serving.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
