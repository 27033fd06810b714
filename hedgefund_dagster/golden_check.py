"""``python -m hedgefund_dagster.golden_check DIR``: a fresh process loads a bundle and compares its golden vectors.

Exit 0 = the model gives here, in a process that trained nothing, the scores it gave when it was made. The signature is
not asked for: this runs before the verdict that is signed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hedgefund_core.bundle import read_bundle
from hedgefund_core.errors import HedgefundError

_SECONDS = 120


def equal_in_fresh_process(files: Mapping[str, bytes]) -> bool:
    """Whether another process finds the golden vectors of a bundle equal."""
    with tempfile.TemporaryDirectory(prefix="hedgefund-golden-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        command = [sys.executable, "-m", "hedgefund_dagster.golden_check", folder]
        return subprocess.run(command, check=False, capture_output=True, timeout=_SECONDS).returncode == 0


def main() -> int:
    """Entry of the fresh process."""
    folder = Path(sys.argv[1])
    try:
        read_bundle({path.name: path.read_bytes() for path in folder.iterdir()}, lambda _key, _payload, _signature: True)
    except HedgefundError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
