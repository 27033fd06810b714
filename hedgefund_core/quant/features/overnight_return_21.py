"""Mean return from the close to the next open over 21 sessions, a fraction; higher = bought overnight.

Reference: Lou, Polk and Skouras (2019).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(panel: Panel, params: Params) -> Floats:
    n_sessions = panel.shape[0]
    overnight = kernels.price_ago(panel, 0, 2, "open") / kernels.price_ago(panel, 1, 2) - 1.0
    return kernels.rolling_mean(kernels.padded(overnight, 2, n_sessions), int(params["window"]))


FEATURE = Feature(
    name="overnight_return_21",
    description="Mean return from the close to the next open over 21 sessions, a fraction; higher = bought overnight.",
    reference="Lou, Polk and Skouras (2019)",
    inputs=("open", "close"),
    params={"window": 21},
    warm_up=_warm_up,
    kernel=_values,
)
