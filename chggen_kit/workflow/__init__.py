"""The pipeline: lattices, volumes, guests, stages, run directory."""
