"""Settings of the VASP relaxations: the paper's, and how dense the grid of k-points is.

Zhong et al. (2025), section "DFT calculations": PAW, r2SCAN, settings consistent with MPScanRelaxSet, a plane-wave
cutoff of 680 eV, KSPACING 0.22 for Li-Si (metallic) and 0.44 for Zn-P-S (insulating), 1e-6 eV in total energies, 0.02
eV/Å in forces.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

from pymatgen.core import Composition, Element, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from chggen_kit.errors import InputError, unknown_name

KSpacingMode = Literal["auto", "metallic", "insulating"]
MODES: tuple[KSpacingMode, ...] = ("auto", "metallic", "insulating")
Kind = Literal["metallic", "insulating", "unknown"]

PAPER_INCAR: Mapping[str, float] = {"ENCUT": 680, "EDIFF": 1e-6, "EDIFFG": -0.02}
"""eV, eV, and eV/Å (negative: forces)."""
KSPACING: Mapping[Kind, float] = {"metallic": 0.22, "insulating": 0.44, "unknown": 0.22}
"""Largest distance of k-points in 1/Å (2 pi included, as VASP has it); where nothing is known the denser grid."""
SMEARING: Mapping[Kind, tuple[int, float]] = {"metallic": (2, 0.2), "insulating": (-5, 0.05), "unknown": (0, 0.05)}
"""ISMEAR and SIGMA in eV. The first two are MPScanRelaxSet's for metals and for materials with a gap; a narrow Gaussian
is right for neither alone and safe for both."""

MIN_TETRAHEDRON_POINTS = 4
"""Irreducible k-points that VASP's tetrahedron method (ISMEAR = -5) needs."""
_SYMPREC_A = 0.01
_ANIONS = frozenset({"N", "O", "F", "S", "Cl", "Se", "Br", "I"})
_CLOSED_SHELL_GROUPS = frozenset({1, 2, 3, 12, 13, 14, 15, 16, 17, 18})
"""Groups whose elements have no partly filled d shell in their usual compounds."""


@dataclass(frozen=True)
class KSpacingChoice:
    """How dense the grid is, and why.

    Attributes:
        kind: what the electrons are taken for.
        kspacing: VASP's KSPACING in 1/Å.
        reason: a phrase for people.
    """

    kind: Kind
    kspacing: float
    reason: str


def choose_kspacing(composition: Composition, mode: KSpacingMode = "auto") -> KSpacingChoice:
    """The grid for `composition`.

    `auto` knows no band gap, since there is none before the calculation. It takes the wide grid only for compositions
    that are insulators by simple chemistry: their most electronegative element is N, O, F, S, Cl, Se, Br or I; no
    element has a partly filled d or f shell in its usual compounds (groups 4 to 11, lanthanides and actinides have);
    and charges balance with one whole oxidation state (of those seen in the ICSD) for each element, the most
    electronegative one in its lowest. All others get the dense grid, which costs time but no accuracy.

    Raises:
        InputError: for an unknown mode.
    """
    if mode not in MODES:
        raise InputError(unknown_name("choice of k-spacing", mode, MODES))
    if mode != "auto":
        return KSpacingChoice(mode, KSPACING[mode], "given")
    elements = sorted(composition.elements, key=_electronegativity)
    if all(element.is_metal for element in elements):
        return KSpacingChoice("metallic", KSPACING["metallic"], "metals only")
    problem = _doubt(composition, elements)
    if problem is not None:
        return KSpacingChoice("unknown", KSPACING["unknown"], f"{problem}: the dense grid, to be safe")
    return KSpacingChoice("insulating", KSPACING["insulating"], "charges balance, no open shells")


def _doubt(composition: Composition, elements: list[Element]) -> str | None:
    """Why a composition, whose `elements` come with rising electronegativity, may be no insulator."""
    anion = elements[-1]
    if anion.symbol not in _ANIONS:
        return f"{anion.symbol} is no strong anion former"
    open_shells = [
        element.symbol
        for element in elements
        if element.group not in _CLOSED_SHELL_GROUPS or element.is_lanthanoid or element.is_actinoid
    ]
    if open_shells:
        return f"{', '.join(open_shells)} can have open shells"
    states = [_states(element) for element in elements[:-1]]
    amounts = [composition[element] for element in elements]
    lowest = min(_states(anion), default=0)
    for assigned in product(*states):
        if math.isclose(sum(n * q for n, q in zip(amounts, (*assigned, lowest), strict=True)), 0, abs_tol=1e-6):
            return None
    return "charges do not balance"


def _electronegativity(element: Element) -> float:
    """On Pauling's scale; 0 for the noble gases that have none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns before it gives NaN
        value = float(element.X)
    return value if math.isfinite(value) else 0.0


def _states(element: Element) -> tuple[int, ...]:
    return tuple(element.icsd_oxidation_states or element.common_oxidation_states)


def kpoint_grid(structure: Structure, kspacing: float) -> tuple[int, int, int]:
    """The Gamma-centred grid that VASP makes of KSPACING: N_i = max(1, ceil(|b_i| / KSPACING)), |b_i| with 2 pi."""
    counts = [max(1, math.ceil(length / kspacing)) for length in structure.lattice.reciprocal_lattice.abc]
    return counts[0], counts[1], counts[2]


def incar_settings(structure: Structure, choice: KSpacingChoice) -> dict[str, float]:
    """What is set on top of MPScanRelaxSet for `structure`.

    VASP stops when the tetrahedron method has fewer than four irreducible k-points; there a narrow Gaussian is used.
    """
    ismear, sigma = SMEARING[choice.kind]
    if ismear == SMEARING["insulating"][0] and _irreducible(structure, choice.kspacing) < MIN_TETRAHEDRON_POINTS:
        ismear, sigma = SMEARING["unknown"]
    return {**PAPER_INCAR, "KSPACING": choice.kspacing, "ISMEAR": ismear, "SIGMA": sigma}


def _irreducible(structure: Structure, kspacing: float) -> int:
    grid = kpoint_grid(structure, kspacing)
    if math.prod(grid) < MIN_TETRAHEDRON_POINTS:
        return math.prod(grid)
    return len(SpacegroupAnalyzer(structure, symprec=_SYMPREC_A).get_ir_reciprocal_mesh(grid))
