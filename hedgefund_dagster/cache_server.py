"""``python -m hedgefund_dagster.cache_server``: the embedded Valkey of ``cache.url: embedded``, served until SIGTERM or Ctrl-C.

Without it the first process that needs the server starts one for as long as it lives; runs are short, a supervised server is not.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from hedgefund_core.errors import HedgefundError
from hedgefund_dagster.sources.http.cache_valkey import embedded_socket, serve_embedded, stop_embedded

_LOOK_SECONDS = 1.0


def main() -> int:
    """Serve until told to stop; a server that died meanwhile is started again. 7 if it cannot be started."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda told, _: stopped.append(told))
    # Not from settings.py, which brings Dagster: this process stays small.
    folder = Path(os.environ.get("HEDGEFUND_DATA_DIR") or "data").resolve()
    try:
        if not serve_embedded(folder):
            sys.stderr.write(f"the embedded Valkey does not start in {folder}\nlook into valkey/valkey.log there\n")
            return 7
        sys.stdout.write(f"unix://{embedded_socket(folder)}\n")
        sys.stdout.flush()
        while not stopped:
            time.sleep(_LOOK_SECONDS)
            serve_embedded(folder)
    except HedgefundError as error:
        sys.stderr.write(f"{error.message}\n{error.mend}\n")
        return error.exit_code
    finally:
        stop_embedded(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
