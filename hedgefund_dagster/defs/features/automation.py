"""Features follow a new panel whose blocking checks passed; a feature whose code changed is stale and shows so."""

from __future__ import annotations

import dagster as dg

ON_NEW_PANEL = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
"""Nothing is computed from a panel that failed its checks."""
