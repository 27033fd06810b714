"""Volume less its mean over 21 sessions, in standard deviations; higher = unusual attention.

Share volumes before a split are counted in the shares of the session itself.

Reference: Gervais, Kaniel and Mingelgrin (2001).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"])


def _values(bars: kernels.Bars, params: Params) -> Floats:
    return kernels.over_volumes(kernels.z_score, bars, int(params["window"]))


FEATURE = Feature(
    name="volume_z_21",
    description="Volume less its mean over 21 sessions, in standard deviations; higher = unusual attention.",
    reference="Gervais, Kaniel and Mingelgrin (2001)",
    inputs=("volume",),
    params={"window": 21},
    warm_up=_warm_up,
    kernel=_values,
)
