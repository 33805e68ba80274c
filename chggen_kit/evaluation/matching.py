"""Whether a sample is the known compound, and how far its guests lie from where they should."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from chggen_kit.metrics.geometry import mean_cell, nearest_images
from chggen_kit.metrics.matching import MATCHER_FAILURES, unusable
from chggen_kit.torus import circular_mean


class Matcher:
    """pymatgen's StructureMatcher with its defaults."""

    def __init__(self) -> None:
        self._matcher = StructureMatcher()
        self._same_cell = StructureMatcher(primitive_cell=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides about a match."""
        described = self._matcher.as_dict()
        names = ("ltol", "stol", "angle_tol", "primitive_cell", "scale", "attempt_supercell")
        return {name: described[name] for name in names}

    def fits(self, known: Structure, found: Structure) -> bool:
        """Whether `found` matches `known`; one that the matcher cannot deal with does not."""
        if unusable(found) is not None:
            return False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of divisions in the reduction of odd cells
                return bool(self._matcher.fit(known, found))
        except MATCHER_FAILURES:
            return False

    def guest_rmsd_A(  # noqa: N802 - units are part of the name
        self, known: Structure, found: Structure, guests: Sequence[int]
    ) -> float | None:
        """Root mean square distance in Å of the guests of `found` from those of `known`, as the matcher pairs them.

        `found` is brought into the setting of `known` first (another choice of origin, equivalent atoms). Distances are
        nearest images in the mean cell, relative to the mean displacement of the host: a slide of the whole crystal
        does not count. None where the cells themselves, as opposed to their primitive ones, don't match.

        Args:
            known: the reference, guests and host.
            found: the same atoms elsewhere; a match.
            guests: indices of the guests in `known`.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                paired = self._same_cell.get_s2_like_s1(known, found)
        except MATCHER_FAILURES:
            return None
        if paired is None:
            return None
        cell = mean_cell(known.lattice.matrix, paired.lattice.matrix)
        offsets = paired.frac_coords - known.frac_coords
        host = np.setdiff1d(np.arange(len(known)), guests)
        # First by the circular mean, so that a host that has slid across its cell does not end up at several images.
        ones = torch.ones(len(host), dtype=torch.float64)
        slide, _ = circular_mean(torch.from_numpy(offsets[host]), ones, torch.zeros(len(host), dtype=torch.int64), 1)
        moved = nearest_images(offsets - slide.numpy(), cell)
        moved = nearest_images(moved - moved[host].mean(axis=0), cell)
        vectors = (moved - moved[host].mean(axis=0))[list(guests)] @ cell
        return float(np.sqrt(np.square(vectors).sum(axis=1).mean()))
