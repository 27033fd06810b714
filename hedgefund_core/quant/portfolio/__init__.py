"""OPTIMIZERS: the registry of constructions. A new one is one file and one line here; tests/contract/test_optimizers.py picks it up.

Each turns scores into signed weights at full gross: (scores, betas, volatilities, gross) -> float64 (n,). NaN everywhere says that no book
can be built from what was given; zero says that the instrument is not wanted. Scaling to the risk target comes after (``scaling``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.portfolio.equal_weight import equal_weight
from hedgefund_core.quant.portfolio.inverse_volatility import inverse_volatility
from hedgefund_core.quant.portfolio.rank_long_only import rank_long_only
from hedgefund_core.quant.portfolio.rank_neutral import rank_neutral

Floats = NDArray[np.float64]
Optimizer = Callable[[Floats, Floats, Floats, float], Floats]

OPTIMIZERS: dict[str, Optimizer] = {
    "rank_neutral": rank_neutral,
    "rank_long_only": rank_long_only,
    "equal_weight": equal_weight,
    "inverse_volatility": inverse_volatility,
}

__all__ = ["OPTIMIZERS", "Optimizer"]
