"""Relaxers over any `Potential`."""
