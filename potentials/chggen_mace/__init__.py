"""MACE as a potential. Imports nothing heavy: see `plugin`."""
