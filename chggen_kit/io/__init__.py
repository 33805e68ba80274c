"""To and from pymatgen, ASE and files."""

from chggen_kit.io.convert import to_batch, to_structures

__all__ = ["to_batch", "to_structures"]
