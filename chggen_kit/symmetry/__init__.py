"""Symmetry operations of a crystal, and the subspaces that they leave unchanged."""

from __future__ import annotations

from chggen_kit.symmetry.operations import SymmetryOperations, find_operations

__all__ = ["SymmetryOperations", "find_operations"]
