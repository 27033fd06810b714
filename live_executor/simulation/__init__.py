"""The whole executor on virtual time against a world that fails by plan: same seed, same journal, byte for byte."""
