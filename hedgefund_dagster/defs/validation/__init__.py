"""Validation: from bars to a panel one can trust."""
