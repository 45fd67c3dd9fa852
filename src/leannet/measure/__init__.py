"""Parameters, MACs, memory, latency and intervals of any module."""
