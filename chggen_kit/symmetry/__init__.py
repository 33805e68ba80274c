"""Symmetry operations of a crystal, the subspaces that they leave unchanged, and the symmetric structures near any."""

from __future__ import annotations

from chggen_kit.symmetry.operations import SymmetryOperations, find_operations
from chggen_kit.symmetry.options import ProjectionOptions
from chggen_kit.symmetry.projection import Projection, nearest_symmetric

__all__ = ["Projection", "ProjectionOptions", "SymmetryOperations", "find_operations", "nearest_symmetric"]
