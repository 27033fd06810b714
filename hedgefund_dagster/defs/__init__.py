"""Slices of the pipeline, a folder each: assets, checks, automation, definitions."""
