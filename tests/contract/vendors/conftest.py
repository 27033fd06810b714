"""The bench as a fixture: one for each data set of each vendor; ``troubled`` without those that share end point and reader."""

from __future__ import annotations

import pytest

from tests.contract.vendors.bench import CASES, Bench, FakeTime
from tests.contract.vendors.loopback import serving


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def bench(request, tmp_path):
    with serving(request.param.vendor) as server:
        yield Bench(case=request.param, server=server, folder=tmp_path / "vendor", clock=FakeTime())


@pytest.fixture(params=[case for case in CASES if not case.twin], ids=lambda case: case.name)
def troubled(request, tmp_path):
    with serving(request.param.vendor) as server:
        yield Bench(case=request.param, server=server, folder=tmp_path / "vendor", clock=FakeTime())
