"""Shell 1, batch: ingest, validate, compute features, train, backtest, gate and promote, as Dagster assets."""
