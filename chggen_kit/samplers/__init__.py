"""Samplers: one shared loop, several policies, and baselines."""
