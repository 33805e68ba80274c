"""Comparison of methods: a grid of systems, methods and seeds, run and counted (docs/benchmark.md)."""
