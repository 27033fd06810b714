"""Shell 2, the daemon: one process that trades the promoted bundle, journal before send."""

import os

# Read by numpy's linear algebra when it loads: sums keep their order on one thread, and each thread would cost memory.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
