"""Noise processes, one field each."""
