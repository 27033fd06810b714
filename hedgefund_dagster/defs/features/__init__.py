"""Features and labels, each proved free of look-ahead."""
