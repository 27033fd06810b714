"""What becomes of a model's book when the model has expired and no other one has come: hold, flatten or decay, as the mandate says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from hedgefund_core.errors import ConfigError
from hedgefund_core.layout import journal_file
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.trading import events as e
from live_executor.app import RunRequest, run
from live_executor.cli import app
from live_executor.journals.sqlite import JournalReader
from live_executor.settings import read_settings
from tests.builders import mandate, tradable_panel, write_executor_house

TRAINED, STEPS, SESSIONS = 130, 4, 14
MANDATE = "HEDGEFUND_RISK__MANDATES__MARKET_NEUTRAL__"


def trade(house: Path, monkeypatch: pytest.MonkeyPatch, end_state: str) -> list[e.Frame]:
    """Fourteen sessions with a model that expires after four of them."""
    for key, value in {"EXPIRY_END_STATE": end_state, "EXPIRY_DECAY_SESSIONS": str(STEPS), "REBALANCING__ANCHOR": "every"}.items():
        monkeypatch.setenv(f"{MANDATE}{key}", value)
    panel = tradable_panel(n_sessions=TRAINED + SESSIONS, n_symbols=8)
    panel = replace(panel, volume=None if panel.volume is None else panel.volume * 100)
    days = int((panel.sessions[TRAINED + 4] - panel.sessions[TRAINED]).astype(int))
    bundle = write_executor_house(house, panel, trained=TRAINED, expires_after_days=days)
    run(read_settings(), RunRequest(account="a", source="noise", bundle=bundle))
    reader = JournalReader(house / "data" / journal_file("a"))
    try:
        return [entry.frame for entry in reader.read()]
    finally:
        reader.close()


@pytest.mark.parametrize(("end_state", "purposes"), [("hold", {"model"}), ("flatten", {"model", "flatten"}), ("decay", {"model", "decay"})])
def test_an_expired_models_book_ends_as_the_mandate_says(
    own_house: Path, monkeypatch: pytest.MonkeyPatch, end_state: str, purposes: set[str]
) -> None:
    frames = trade(own_house, monkeypatch, end_state)
    orders = [order for frame in frames if isinstance(frame, e.OrdersIntended) for order in frame.orders]
    assert {order.purpose.value for order in orders} == purposes
    gross = np.array([frame.gross for frame in frames if isinstance(frame, e.AccountMarked)])
    assert gross[3] > 0.2
    if end_state == "hold":
        assert gross[-1] > 0.0
    elif end_state == "flatten":
        assert gross[6:].tolist() == [0.0] * len(gross[6:])
    else:
        wound = [order for order in orders if order.purpose.value == "decay"]
        assert {order.leg.value for order in wound} == {"close"}
        book = gross[5]
        line = [book * (1.0 - step / STEPS) for step in range(1, STEPS + 1)]
        assert gross[6 : 6 + STEPS] == pytest.approx(line, abs=0.06 * book), "a straight line, but for prices and the no-trade band"
        assert gross[6 + STEPS :].tolist() == [0.0] * len(gross[6 + STEPS :])
        said = [frame.message for frame in frames if isinstance(frame, e.AlertRaised) and "wound down" in frame.message]
        assert len(said) == 1
    result = CliRunner().invoke(app, ["replay", "--verify", "--account", "a"])
    assert result.exit_code == 0, result.output


def test_an_end_state_or_a_number_of_sessions_that_is_none_is_refused(own_house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in (("EXPIRY_END_STATE", "fade"), ("EXPIRY_DECAY_SESSIONS", "0"), ("EXPIRY_DECAY_SESSIONS", "21")):
        with monkeypatch.context() as changed:
            changed.setenv(f"{MANDATE}{key}", value)
            with pytest.raises(ConfigError, match="risk"):
                read_settings()
    old = msgspec.to_builtins(mandate())
    del old["expiry_decay_sessions"]
    assert msgspec.convert(old, Mandate).expiry_decay_sessions == 20, "as a journal from before has it"
