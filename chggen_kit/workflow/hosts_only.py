"""The baseline `relax-host-only`: hosts relaxed alone, guests nowhere. What symmetry do they have without guests?

It is no sampler: a sampler returns every atom of its template in its place, and here the guests have none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress
from chggen_kit.plugins import Registry
from chggen_kit.workflow.config import RelaxConfig

_USABLE_ENDS = ("converged", "max-steps")


@dataclass(frozen=True)
class HostRelaxation:
    """How hosts are relaxed: a potential and an optimiser, by name, from a registry."""

    config: RelaxConfig
    registry: Registry

    def __call__(self, hosts: Sequence[Structure], progress: Progress | None = None) -> list[Structure | None]:
        """Hosts relaxed together, cells free; None for one whose relaxation failed.

        Raises:
            PluginError: when the potential or the relaxer cannot be made.
        """
        if not hosts:
            return []
        potential = self.registry.create_potential(self.config.potential.name, self.config.potential.options)
        chosen = self.config.relaxer
        relaxer = self.registry.create_relaxer(chosen.name, chosen.options, potential=potential)
        ended = relaxer.relax(
            list(hosts), cell="free", fmax=self.config.fmax, max_steps=self.config.max_steps, progress=progress
        )
        return [one.structure if one.reason in _USABLE_ENDS else None for one in ended]


def without(structure: Structure, guests: Collection[str], name: str) -> Structure:
    """`structure` without the elements `guests`.

    Raises:
        InputError: when nothing is left, or none of the guests is there.
    """
    kept = [site for site in structure if site.specie.symbol not in guests]
    if not kept or len(kept) == len(structure):
        problem = "holds nothing but" if not kept else "holds none of"
        raise InputError(f"{name} ({structure.composition.formula}) {problem} the guests {', '.join(sorted(guests))}.")
    return Structure(structure.lattice, [site.specie for site in kept], [site.frac_coords for site in kept])
