"""``python -m hedgefund_dagster.compact``: merge the many small files of the lake, from the command line."""

from __future__ import annotations

import argparse
import os
import sys

from hedgefund_core.errors import HedgefundError
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_compaction import compact
from hedgefund_dagster.settings import data_folder


def main(arguments: list[str] | None = None) -> int:
    """Compact the lake of HEDGEFUND_DATA_DIR; prints a line a folder."""
    parser = argparse.ArgumentParser(prog="python -m hedgefund_dagster.compact", description=__doc__)
    parser.add_argument("--at-least", type=int, default=2, metavar="N", help="only folders of that many files (default 2)")
    wanted = parser.parse_args(arguments)
    try:
        done = compact(Lake(data_folder(os.environ)).root, at_least=max(2, wanted.at_least))
    except HedgefundError as error:
        sys.stderr.write(f"{error.message}\n{error.mend}\n")
        return error.exit_code
    for folder in done:
        sys.stdout.write(
            f"{folder.folder}: {folder.files_before} files -> {folder.files_after}, {folder.rows} rows, "
            f"{folder.bytes_before} -> {folder.bytes_after} bytes\n"
        )
    sys.stdout.write(f"{len(done)} folders compacted\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
