"""Time limits of tests: against what hangs, never against a machine that is busy."""

HANGS = 600
"""Seconds after which a process or a thread hangs."""
