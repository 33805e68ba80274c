"""The in-house NequIP score model (e3nn, torch-geometric). Imports nothing heavy: see `plugin`."""
