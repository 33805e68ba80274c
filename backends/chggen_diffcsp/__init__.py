"""DiffCSP-type score models (Jiao et al., arXiv:2309.04475). Imports nothing heavy: see `plugin`."""
