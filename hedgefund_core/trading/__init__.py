"""The money path: instruments, orders, positions, cash and the ladder, in Decimal, as pure folds over events."""
