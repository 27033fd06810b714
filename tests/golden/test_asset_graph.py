"""The asset graph of research as committed: an asset or a check that appears or goes is seen in a diff."""

from __future__ import annotations

from pathlib import Path

from hedgefund_dagster.definitions import defs

NETWORK_GROUPS = ("vendors", "served")


def test_the_graph_of_research_is_as_committed() -> None:
    graph = defs.resolve_asset_graph()
    assets = [f"asset {key.to_user_string()}" for key in graph.get_all_asset_keys() if graph.get(key).group_name not in NETWORK_GROUPS]
    checks = [f"check {key.asset_key.to_user_string()} {key.name}" for key in graph.asset_check_keys]
    committed = (Path(__file__).parent / "asset_graph_research.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(assets) + sorted(checks) == committed
