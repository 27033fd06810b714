"""What assets are given: the lake and a clock."""
