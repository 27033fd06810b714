"""The mathematics: float64 arrays in, float64 arrays out. No I/O, no clock, no hidden randomness."""
