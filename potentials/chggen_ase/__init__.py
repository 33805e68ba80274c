"""Any ASE calculator as a potential. Imports nothing heavy: see `plugin`."""
