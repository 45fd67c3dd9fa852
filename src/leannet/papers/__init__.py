"""The published figures of each paper, as data."""
