"""The pure core: trading rules and mathematics shared by the batch shell and the live shell.

Nothing in here performs I/O, reads a clock, draws random numbers without a given seed, or imports a vendor.
"""
