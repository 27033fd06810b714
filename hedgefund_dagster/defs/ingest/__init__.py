"""Ingest: from sources to bars."""
