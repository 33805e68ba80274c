"""Chemical families follow the documented rules."""

from __future__ import annotations

import pytest
from pymatgen.core import Composition

from chggen_kit.metrics.families import FAMILIES, family


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("Cu", "intermetallic"),
        ("NiAl", "intermetallic"),
        ("S", "other"),
        ("Si", "other"),
        ("LiCoO2", "oxide"),
        ("Li3PO4", "oxide"),
        ("Zn2P2S7", "chalcogenide"),
        ("AuTe2", "chalcogenide"),
        ("BiOF", "halide"),
        ("NaCl", "halide"),
        ("Li3N", "pnictide"),
        ("CoSb3", "pnictide"),
        ("MgH2", "hydride"),
        ("Mg(OH)2", "oxide"),
        ("Li13Si4", "other"),
        ("TiB2", "other"),
        ("CaCN2", "pnictide"),
    ],
)
def test_families(formula: str, expected: str) -> None:
    found = family([element.symbol for element in Composition(formula)])
    assert found == expected
    assert found in FAMILIES
