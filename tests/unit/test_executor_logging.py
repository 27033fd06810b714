"""The log of an account: JSON lines in files that never fill the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from live_executor import logging


def test_a_full_log_goes_on_in_a_fresh_file_and_the_oldest_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "_MOST_BYTES", 2_000)
    logging.configure(tmp_path)
    for number in range(500):
        logging.logger("test").info("looked", number=number)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["executor.log", *(f"executor.log.{place}" for place in (1, 2, 3, 4))]
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert json.loads(files[0].read_text().splitlines()[-1])["number"] == 499
