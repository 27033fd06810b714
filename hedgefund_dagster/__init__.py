"""Shell 1: batch. Dagster assets from sources to promoted models; it meets the executor in files only."""
