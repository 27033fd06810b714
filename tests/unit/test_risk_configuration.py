"""config/risk.yaml and config/trading.yaml are what the code expects, and every number has its source."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hedgefund_core.configuration import resolve
from hedgefund_core.errors import ConfigError
from hedgefund_core.risk import RULES
from hedgefund_core.risk.limits import RiskSettings

CONFIG = Path(__file__).resolve().parents[2] / "config"


def content(name):
    return yaml.safe_load((CONFIG / f"{name}.yaml").read_text(encoding="utf-8"))


def test_every_mandate_loads_and_names_itself():
    settings, _ = resolve("config/risk.yaml", content("risk"), {}, RiskSettings)
    assert set(settings.mandates) == {"market_neutral", "long_only", "discretionary"}
    assert all(mandate.name == name for name, mandate in settings.mandates.items())


def test_the_numbers_of_the_contract_stand():
    settings, _ = resolve("config/risk.yaml", content("risk"), {}, RiskSettings)
    neutral, long_only = settings.mandates["market_neutral"], settings.mandates["long_only"]
    assert (neutral.target_volatility, neutral.max_beta, neutral.limits.max_gross, neutral.limits.max_net) == (0.08, 0.2, 1.5, 0.6)
    assert (long_only.target_volatility, long_only.max_beta, long_only.limits.max_gross) == (0.15, 0.5, 1.0)
    for mandate in (neutral, long_only):
        limits = mandate.limits
        assert (limits.drawdown_start, limits.drawdown_end, limits.drawdown_floor, limits.drawdown_flatten) == (0.02, 0.08, 0.25, 0.09)
        assert mandate.rebalancing.anchor == "week_end"


def test_a_misspelt_limit_is_an_error_and_an_override_counts():
    broken = content("risk")
    broken["mandates"]["long_only"]["limits"]["max_gros"] = 1.0
    with pytest.raises(ConfigError, match="max_gros"):
        resolve("config/risk.yaml", broken, {}, RiskSettings)
    variable = "HEDGEFUND_RISK__MANDATES__MARKET_NEUTRAL__TARGET_VOLATILITY"
    settings, origins = resolve("config/risk.yaml", content("risk"), {variable: "0.06"}, RiskSettings)
    assert settings.mandates["market_neutral"].target_volatility == 0.06
    assert origins["mandates.market_neutral.target_volatility"] == variable


@pytest.mark.parametrize("lost", ["target_volatility", "max_beta", "limits.max_top_five", "limits.intraday_loss_flatten_sigmas"])
def test_only_a_discretionary_mandate_leaves_a_limit_of_a_model_out(lost):
    broken = content("risk")
    place, _, key = lost.rpartition(".")
    book = broken["mandates"]["long_only"]
    (book[place] if place else book)[key] = None
    with pytest.raises(ConfigError, match=key):
        resolve("config/risk.yaml", broken, {}, RiskSettings)
    free = resolve("config/risk.yaml", content("risk"), {}, RiskSettings)[0].mandates["discretionary"]
    assert free.discretionary
    assert free.target_volatility is None


def test_every_number_of_the_reference_mandate_has_its_source():
    text = (CONFIG / "risk.yaml").read_text(encoding="utf-8").split("  long_only:")[0]
    bare = [
        line.strip()
        for line in text.splitlines()
        if ":" in line and any(letter.isdigit() for letter in line.split("#")[0]) and "source:" not in line and "{up_to" not in line
    ]
    assert bare == []


def test_only_rules_that_exist_are_waived():
    names = {rule.name for rule in RULES}
    assert all(set(waived) <= names for waived in content("trading")["waived"].values())
