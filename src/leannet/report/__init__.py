"""Ours beside each other: sweeps, tables, files."""
