"""The cell that structures are trained in: Niggli-reduced, as in the published data sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chggen_kit.io.readers import StructureRecord

_TOLERANCE = 1e-4
"""Below which lengths and angles count as equal: data files hold about five digits."""


def niggli_reduced(record: StructureRecord) -> StructureRecord:
    """`record` in its Niggli-reduced cell, atoms in the same order.

    The network sees lengths and angles of a cell only, so its orientation does not matter.
    """
    import spglib

    reduced = spglib.niggli_reduce(record.lattice, eps=_TOLERANCE)
    if reduced is None:
        return record
    return replace(record, lattice=reduced, frac_coords=record.frac_coords @ record.lattice @ np.linalg.inv(reduced))
