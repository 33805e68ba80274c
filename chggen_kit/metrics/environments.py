"""Local environments of many structures: radial distribution functions by pair, coordination numbers by species.

They are what Fig. 2 of Zhong et al. (2025) compares between generated and known structures. Each distribution is
compared by one number, the Wasserstein (earth mover's) distance, so that methods can be ranked.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from scipy.stats import wasserstein_distance

from chggen_kit.errors import InputError, unknown_name
from chggen_kit.interfaces import Progress

Array = NDArray[np.float64]
Pair = tuple[str, str]

FINDERS = {
    "crystal-nn": "CrystalNN",
    "voronoi": "VoronoiNN",
    "minimum-distance": "MinimumDistanceNN",
    "econ": "EconNN",
}
"""Environment finders by name: classes of `pymatgen.analysis.local_env`, with their own defaults."""
RESAMPLES = 200
LEVEL = 0.95


@dataclass(frozen=True)
class EnvironmentSettings:
    """What is measured.

    Attributes:
        r_max_A: distances in Å up to which pairs are counted.
        bin_A: width in Å of the bins of distances.
        finder: what decides who is a neighbour, a name of `FINDERS`.
        ligands: elements that count as neighbours (the anions, say); empty for all.
    """

    r_max_A: float = 8.0
    bin_A: float = 0.05
    finder: str = "crystal-nn"
    ligands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.finder not in FINDERS:
            raise InputError(unknown_name("environment finder", self.finder, FINDERS))
        if not 0 < self.bin_A < self.r_max_A < 50:
            raise InputError(
                f"Distances up to {self.r_max_A} Å in bins of {self.bin_A} Å cannot be counted: both must be "
                "positive, a bin narrower than the whole, and the whole under 50 Å (8 and 0.05 are usual)."
            )

    @property
    def edges_A(self) -> Array:  # noqa: N802 - units are part of the name
        """Edges of the bins in Å `[n_bins + 1]`."""
        return np.linspace(0.0, self.r_max_A, max(2, round(self.r_max_A / self.bin_A)) + 1)

    @property
    def centres_A(self) -> Array:  # noqa: N802 - units are part of the name
        """Centres of the bins in Å `[n_bins]`."""
        return (self.edges_A[1:] + self.edges_A[:-1]) / 2


@dataclass(frozen=True)
class Measured:
    """What is counted in one structure.

    Attributes:
        pairs: distances in each bin `[n_bins]`, from every first to every second atom of a pair of elements.
        ideal: the same counts in an ideal gas of the same density.
        coordination: how many atoms of an element have so many neighbours.
        failure: why coordination numbers are missing; empty where they are not.
    """

    pairs: Mapping[Pair, Array]
    ideal: Mapping[Pair, Array]
    coordination: Mapping[str, Mapping[int, int]]
    failure: str = ""


def measure(structure: Structure, settings: EnvironmentSettings) -> Measured:
    """Count distances and neighbours in an ordered `structure`.

    A structure in which the finder fails (atoms on top of each other, or none within its reach) has distances only.

    Raises:
        InputError: when the structure is empty, disordered, or has no volume.
    """
    if len(structure) == 0 or not structure.is_ordered or not structure.volume > 0:
        raise InputError(
            "Local environments need an ordered structure with atoms and a cell with a volume; this one is "
            f"{structure.composition.formula or 'empty'} in {structure.volume:.3g} Å^3."
        )
    pairs, ideal = _distances(structure, settings)
    coordination, failure = _coordination(structure, settings)
    return Measured(pairs, ideal, coordination, failure)


def _distances(structure: Structure, settings: EnvironmentSettings) -> tuple[dict[Pair, Array], dict[Pair, Array]]:
    symbols = [site.specie.symbol for site in structure]
    names = np.array(symbols)
    first, second, _, lengths = structure.get_neighbor_list(settings.r_max_A)
    edges = settings.edges_A
    shells = 4 / 3 * math.pi * np.diff(edges**3)
    pairs, ideal = {}, {}
    for one, other in combinations_with_replacement(sorted(set(symbols)), 2):
        chosen = (names[first] == one) & (names[second] == other)
        pairs[one, other] = np.histogram(lengths[chosen], edges)[0].astype(np.float64)
        amount = float((names == one).sum() * (names == other).sum())
        ideal[one, other] = amount / structure.volume * shells
    return pairs, ideal


def _coordination(structure: Structure, settings: EnvironmentSettings) -> tuple[dict[str, Counter[int]], str]:
    from pymatgen.analysis import local_env

    finder = getattr(local_env, FINDERS[settings.finder])()
    numbers: dict[str, Counter[int]] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # guesses of oxidation states and radii: no better ones are known here
            for index, site in enumerate(structure):
                found = finder.get_nn_info(structure, index)
                kept = [one for one in found if not settings.ligands or one["site"].specie.symbol in settings.ligands]
                numbers.setdefault(site.specie.symbol, Counter())[len(kept)] += 1
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError, TypeError, KeyError) as error:
        # pymatgen's finders raise these on structures that have no sensible neighbours.
        return {}, f"{type(error).__name__}: {error}"
    return numbers, ""


@dataclass(frozen=True)
class EnvironmentSet:
    """The environments of a set of structures.

    Attributes:
        settings: how they were measured.
        structures: what was counted in each.
    """

    settings: EnvironmentSettings
    structures: Sequence[Measured] = field(repr=False)

    @classmethod
    def of(
        cls,
        structures: Sequence[Structure],
        settings: EnvironmentSettings | None = None,
        progress: Progress | None = None,
    ) -> EnvironmentSet:
        """Measure `structures`.

        Raises:
            InputError: when there are none, or as `measure`.
        """
        if not structures:
            raise InputError("There are no structures whose local environments could be compared.")
        chosen = settings or EnvironmentSettings()
        found = []
        for number, one in enumerate(structures, start=1):
            found.append(measure(one, chosen))
            if progress is not None:
                progress.update(number, len(structures), one.composition.reduced_formula)
        return cls(chosen, found)

    def take(self, indices: Collection[int]) -> EnvironmentSet:
        """The set of the structures with `indices`, repeated ones included."""
        return EnvironmentSet(self.settings, [self.structures[index] for index in indices])

    @property
    def failures(self) -> list[str]:
        """Why structures have no coordination numbers."""
        return [one.failure for one in self.structures if one.failure]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Pairs of elements that are in a structure."""
        return tuple(sorted({pair for one in self.structures for pair in one.pairs}))

    @property
    def species(self) -> tuple[str, ...]:
        """Elements with coordination numbers."""
        return tuple(sorted({name for one in self.structures for name in one.coordination}))

    def rdf(self, pair: Pair) -> Array | None:
        """g(r) of a pair `[n_bins]`: counts over those of an ideal gas, both summed over structures; None without it.

        It goes to 1 at large distances, and a structure weighs by its number of pairs.
        """
        held = [one for one in self.structures if pair in one.pairs]
        if not held:
            return None
        return np.asarray(sum(one.pairs[pair] for one in held) / sum(one.ideal[pair] for one in held))

    def coordination(self, species: str) -> dict[int, float] | None:
        """Shares of the atoms of an element by their number of neighbours; None without such atoms."""
        total: Counter[int] = Counter()
        for one in self.structures:
            total.update(one.coordination.get(species, {}))
        atoms = sum(total.values())
        return {number: total[number] / atoms for number in sorted(total)} if atoms else None


def rdf_distance_A(first: EnvironmentSet, second: EnvironmentSet, pair: Pair) -> float:  # noqa: N802 - units are part of the name
    """Wasserstein distance in Å between g(r) of a pair in two sets, each taken as a density of r up to `r_max_A`.

    g(r) and not the distances themselves: these grow with r^2 and would tell of the far end alone. NaN where a set
    lacks the pair.
    """
    ours, theirs = first.rdf(pair), second.rdf(pair)
    if ours is None or theirs is None or not ours.any() or not theirs.any():
        return math.nan
    centres = first.settings.centres_A
    return float(wasserstein_distance(centres, centres, ours, theirs))


def coordination_distance(first: EnvironmentSet, second: EnvironmentSet, species: str) -> float:
    """Wasserstein distance, in neighbours, between the coordination numbers of an element; NaN where a set lacks it."""
    ours, theirs = first.coordination(species), second.coordination(species)
    if ours is None or theirs is None:
        return math.nan
    return float(wasserstein_distance(list(ours), list(theirs), list(ours.values()), list(theirs.values())))


@dataclass(frozen=True)
class Distance:
    """A distance between two sets, with what it takes to read it.

    Attributes:
        value: between the sets; NaN where one lacks what is compared.
        low, high: 95 % interval by resampling the generated structures; NaN with fewer than two.
        floor: mean distance between random halves of the reference: what structures of the reference itself differ by;
            NaN with fewer than two.
    """

    value: float
    low: float
    high: float
    floor: float

    def as_json(self) -> dict[str, float | None]:
        """Plain values; NaN becomes None."""
        values = {"value": self.value, "low": self.low, "high": self.high, "floor": self.floor}
        return {key: round(one, 6) if math.isfinite(one) else None for key, one in values.items()}


@dataclass(frozen=True)
class EnvironmentComparison:
    """Two sets compared.

    Attributes:
        generated, reference: the sets.
        pairs: distance in Å for each pair of elements that both have.
        species: distance in neighbours for each element that both have.
        mean_rdf_A: mean over pairs.
        mean_coordination: mean over elements.
    """

    generated: EnvironmentSet
    reference: EnvironmentSet
    pairs: Mapping[Pair, Distance]
    species: Mapping[str, Distance]
    mean_rdf_A: Distance
    mean_coordination: Distance

    def as_json(self) -> dict[str, Any]:
        """Plain values: the distances, and the distributions that they are between."""
        sets = {"generated": self.generated, "reference": self.reference}
        settings = self.generated.settings
        return {
            "settings": {
                "r_max_A": settings.r_max_A,
                "bin_A": settings.bin_A,
                "finder": settings.finder,
                "ligands": list(settings.ligands),
            },
            "structures": {name: len(one.structures) for name, one in sets.items()},
            "without_coordination": {name: len(one.failures) for name, one in sets.items()},
            "mean_rdf_distance_A": self.mean_rdf_A.as_json(),
            "mean_coordination_distance": self.mean_coordination.as_json(),
            "rdf": {
                "-".join(pair): {
                    "distance_A": found.as_json(),
                    **{name: [round(float(g), 5) for g in _known(one.rdf(pair))] for name, one in sets.items()},
                }
                for pair, found in self.pairs.items()
            },
            "coordination": {
                name: {
                    "distance": found.as_json(),
                    **{label: one.coordination(name) for label, one in sets.items()},
                }
                for name, found in self.species.items()
            },
        }


def _known(values: Array | None) -> Array:
    return np.zeros(0) if values is None else values


def compare(generated: EnvironmentSet, reference: EnvironmentSet, *, seed: int = 0) -> EnvironmentComparison:
    """Compare the environments of `generated` structures with those of `reference` structures.

    The interval resamples structures: it says how far chance reaches for more structures like these, not for others.

    Raises:
        InputError: when they were measured in different ways, or share no pair of elements.
    """
    if generated.settings != reference.settings:
        raise InputError("The two sets were measured in different ways: use the same settings for both.")
    pairs = [pair for pair in generated.pairs if pair in reference.pairs]
    if not pairs:
        raise InputError(
            "The generated and the reference structures share no pair of elements: they hold "
            f"{', '.join(sorted({one for pair in generated.pairs for one in pair}))} and "
            f"{', '.join(sorted({one for pair in reference.pairs for one in pair}))}."
        )
    species = [one for one in generated.species if one in reference.species]
    # Two of them, so that the floor does not depend on how many structures were generated.
    generator, splitter = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])

    def distances(ours: EnvironmentSet, theirs: EnvironmentSet) -> Array:
        rdf = np.array([rdf_distance_A(ours, theirs, pair) for pair in pairs])
        coordination = np.array([coordination_distance(ours, theirs, one) for one in species])
        return np.concatenate([rdf, coordination, [_mean(rdf), _mean(coordination)]])

    value = distances(generated, reference)
    n, m = len(generated.structures), len(reference.structures)
    drawn = [distances(generated.take(generator.integers(n, size=n)), reference) for _ in range(RESAMPLES * (n > 1))]
    halves = [splitter.permutation(m) for _ in range(RESAMPLES // 4 * (m > 1))]
    floors = [distances(reference.take(one[: m // 2]), reference.take(one[m // 2 :])) for one in halves]
    low, high = _quantiles(drawn, len(value))
    found = [
        Distance(*(float(one) for one in row)) for row in zip(value, low, high, _means(floors, len(value)), strict=True)
    ]
    return EnvironmentComparison(
        generated,
        reference,
        dict(zip(pairs, found, strict=False)),
        dict(zip(species, found[len(pairs) :], strict=False)),
        found[-2],
        found[-1],
    )


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _quantiles(drawn: Sequence[Array], size: int) -> Array:
    """Ends of the interval `[2, size]`."""
    if not drawn:
        return np.full((2, size), math.nan)
    tail = (1 - LEVEL) / 2
    columns = [column[np.isfinite(column)] for column in np.array(drawn).T]
    return np.array([np.quantile(one, [tail, 1 - tail]) if len(one) else [math.nan] * 2 for one in columns]).T


def _means(drawn: Sequence[Array], size: int) -> Array:
    return np.array([_mean(column) for column in np.array(drawn).T]) if drawn else np.full(size, math.nan)
