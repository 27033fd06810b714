"""Relative paths and names under the data folder: strings only, each shell opens them itself."""

from __future__ import annotations

RAW = "raw"
BARS = "processed/bars"
"""Hive-partitioned by source and partition (a year or a day): ``processed/bars/source=<s>/partition=<p>/<write>.parquet``."""
CORPORATE_ACTIONS = "processed/corporate_actions"
FEATURES = "processed/features"
LABELS = "processed/labels"
PANELS = "processed/panels"
QUARANTINE_BARS = "processed/quarantine/bars.parquet"
REPORTS = "reports"
DATA_DOCS = "reports/data_docs"
DEMO_REPORT = "reports/demo.json"
TEAR_SHEET = "reports/tear_sheet.html"
LIVE = "live"
MLFLOW_DB = "mlflow.db"
TRIALS = "research/trials.jsonl"
WALK_FORWARD = "research/walk_forward"
LAST_ACCOUNT = "live/LAST_ACCOUNT"

REGISTERED_MODEL = "hedgefund-strategy"
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


def raw_folder(source: str, dataset: str) -> str:
    """Folder of the payloads kept as they came."""
    return f"{RAW}/{source}/{dataset}"


def bars_partition(source: str, partition: str) -> str:
    """Folder of one partition of the bar table."""
    return f"{BARS}/source={source}/partition={partition}"


def table_file(table: str, source: str) -> str:
    """A table of a source that each write replaces (validated bars, corporate actions, features, labels)."""
    return f"processed/{table}/source={source}/{table}.parquet"


def versions_folder(table: str, source: str) -> str:
    """A table of a source that keeps every version: a file a write (macro, fundamentals, news, instruments)."""
    return f"processed/{table}/source={source}"


def quarantine_file(table: str) -> str:
    """Findings about a table's rows, of all sources."""
    return f"processed/quarantine/{table}.parquet"


def quarantine_releases(table: str) -> str:
    """Who released which finding, when and why: a JSON object a line, never shortened."""
    return f"processed/quarantine/{table}_releases.jsonl"


def grids_folder(source: str) -> str:
    """Columns of the bars of a source that as-of reads map from disk: derived, losing them costs time only."""
    return f"processed/grids/source={source}"


def vendor_folder(vendor: str) -> str:
    """What the processes of this machine share about a vendor: quota, breaker, HTTP cache. Losing it costs time only."""
    return f"sources/{vendor}"


def feature_arrays(source: str) -> str:
    """Date-major arrays of the features and labels of a source: what training reads."""
    return f"{FEATURES}/source={source}/features.npz"


def panel_file(source: str) -> str:
    """Date-major arrays of validated bars: what the trading process reads."""
    return f"{PANELS}/{source}/panel.npz"


def panel_manifest(source: str) -> str:
    """Manifest of the panel: sha256, rows, price kind, raw files behind it."""
    return f"{PANELS}/{source}/manifest.json"


def account_folder(account: str) -> str:
    """Everything of one trading account."""
    return f"{LIVE}/{account}"


def journal_file(account: str) -> str:
    """The account's journal."""
    return f"{LIVE}/{account}/journal.sqlite"


def halt_file(account: str) -> str:
    """Mirror of the latch: creating it halts, deleting it resumes nothing."""
    return f"{LIVE}/{account}/HALT"


def commands_folder(account: str) -> str:
    """Where the command line leaves commands for the daemon, by atomic rename."""
    return f"{LIVE}/{account}/commands"


def bundle_folder(account: str, digest: str) -> str:
    """A verified copy of a bundle, kept as long as the journal that used it."""
    return f"{LIVE}/{account}/bundles/{digest}"


def broker_book_file(account: str) -> str:
    """The simulated broker's own durable book: never read by the executor except through the broker."""
    return f"{LIVE}/{account}/broker/book.sqlite"
