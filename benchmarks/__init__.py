"""Benchmarks: what the project does, measured against its peers in the same run. See docs/performance.md."""
