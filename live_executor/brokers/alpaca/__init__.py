"""Alpaca, or any server that speaks like it: `AlpacaBroker` over `endpoints.py`."""
