"""An Alpaca-compatible server for tests: REST v2, both streams, its own book, faults on demand.

It keeps its own truth (``GET /_book``), which no code of the product ever reads: what the executor believes is compared with it.
"""
