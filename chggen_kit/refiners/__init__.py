"""Host refiners."""
