"""Validation runs by itself when new bars are there, and only when their blocking checks passed."""

from __future__ import annotations

import dagster as dg

ON_NEW_DATA = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
"""Light assets follow their parents; a failed blocking check upstream stops them."""
