"""Shell 2, the daemon: one process that trades the promoted bundle, journal before send."""
