"""A live account on the wall clock: tasks around the desk, all I/O through ports, all time and chance from outside."""
