"""The cell that structures are trained in: Niggli-reduced, as in the published data sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from chggen_diffcsp.gauge import niggli_changes
from chggen_kit.errors import InputError
from chggen_kit.io.readers import StructureRecord


def niggli_reduced(record: StructureRecord) -> StructureRecord:
    """`record` in the cell in which the score model will give it to the network, atoms in the same order."""
    try:
        change = niggli_changes(torch.from_numpy(record.lattice)[None], torch.tensor([True]))[0].numpy()
    except InputError:
        # A cell too long and thin to be reduced is as good as another: the reader has refused flat ones.
        return record
    return replace(
        record,
        lattice=change @ record.lattice,
        frac_coords=record.frac_coords @ np.rint(np.linalg.inv(change)),
    )
