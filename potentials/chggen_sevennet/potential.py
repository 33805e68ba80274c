"""SevenNet as a `Potential`: one graph, one forward and one backward pass for the batch.

Park et al., Journal of Chemical Theory and Computation 20, 4857 (2024); multi-fidelity weights: Kim et al., Journal of
the American Chemical Society 147, 1042 (2025).
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import torch

from chggen_kit.errors import CheckpointError, InputError
from chggen_kit.interfaces import Evaluation, PotentialInfo
from chggen_kit.potentials import EdgePotential
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import Neighbours
from chggen_sevennet.options import SevennetOptions

_FRAMES = {None: "raw-pbe", "PBE": "raw-pbe", "R2SCAN": "r2scan"}
"""All PBE weights were trained on the total energies of MPtrj *without* the MP2020 corrections."""
_MAX_ATOMS_PER_BATCH = {"7net-0": (128, 1024), "7net-l3i5": (64, 512), "7net-mf-0": (128, 1024)}
"""On a CPU, where larger batches gain nothing, and on a GPU."""
_VOIGT = torch.tensor([[0, 3, 5], [3, 1, 4], [5, 4, 2]])
"""Place of each component of a stress among sevenn's six: xx, yy, zz, xy, yz, zx."""


def load(options: SevennetOptions) -> SevennetPotential:
    """SevenNet with weights of the installed `sevenn` package.

    Raises:
        CheckpointError: when the package holds no such weights, or weights of another architecture.
        InputError: when the device does not exist here.
    """
    try:
        kind = torch.device(options.device).type
    except RuntimeError as error:
        raise InputError(f"SevenNet cannot run on device {options.device!r}: {error}. Use 'cpu' or 'cuda'.") from error
    if kind not in ("cpu", "cuda"):
        raise InputError(f"SevenNet cannot run on device {options.device!r}. Use 'cpu' or 'cuda'.")
    from sevenn.util import load_checkpoint

    try:
        # The weights are a file of the wheel, as trusted as its code; no other file can be named.
        checkpoint = load_checkpoint(options.weights)
        model = checkpoint.build_model()
    except Exception as error:  # sevenn raises and asserts all sorts of things
        version = importlib.metadata.version("sevenn")
        raise CheckpointError(
            f"The weights {options.weights!r} of the sevenn package (version {version}; 0.13.0 is known to work) "
            f"cannot be loaded: {type(error).__name__}: {error}."
        ) from error
    try:
        model.to(options.device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA raises AssertionError
        raise InputError(f"SevenNet cannot run on device {options.device!r}: {error}. Use 'cpu'.") from error
    return SevennetPotential(model, options, mirror_invariant=bool(checkpoint.config["is_parity"]))


class SevennetPotential(EdgePotential):
    """SevenNet; energies, forces and stresses are those of `sevenn.calculator.SevenNetCalculator`.

    Energies are sums over the atoms in float64, which keeps digits that a sum in float32 loses. A crystal gets NaN as
    `EdgePotential` says.

    Args:
        model: a `sevenn.nn.sequential.AtomGraphSequential`.
        options: what it was loaded from.
        mirror_invariant: whether the network is equivariant under improper rotations.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - sevenn has no type information
        options: SevennetOptions,
        *,
        mirror_invariant: bool,
    ) -> None:
        model.set_is_batch_data(True)
        self._model = model.requires_grad_(requires_grad=False).eval()
        self._device = torch.device(options.device)
        self._modality = options.modality
        level = "" if options.modality is None else f"-{options.modality.lower()}"
        self._info = PotentialInfo(
            name=f"{options.weights}{level}",
            energy_frame=_FRAMES[options.modality],
            elements=frozenset(int(z) for z in model.type_map),
            cutoff_A=float(model.cutoff),
            max_atoms_per_batch=_MAX_ATOMS_PER_BATCH[options.weights][self._device.type == "cuda"],
            licence="MIT",
            mirror_invariant=mirror_invariant,
        )

    @property
    def info(self) -> PotentialInfo:
        """What the potential is."""
        return self._info

    def compute_with_edges(self, batch: CrystalBatch, edges: Neighbours) -> Evaluation:
        """Values of `batch`; the network computes in float32."""
        import sevenn._keys as key
        from sevenn.atom_graph_data import AtomGraphData

        graph = AtomGraphData(x=batch.species, edge_index=torch.stack([edges.target, edges.source]))
        graph[key.ATOMIC_NUMBERS] = batch.species
        graph[key.EDGE_VEC] = edges.vector.float()
        graph[key.CELL_VOLUME] = batch.volumes.float()
        graph[key.NUM_ATOMS] = batch.num_atoms
        graph[key.BATCH] = batch.crystal_index
        graph = graph.to(self._device)
        if self._modality is not None:
            graph[key.DATA_MODALITY] = [self._modality] * batch.n_crystals
        result = self._model(graph)
        site = result[key.ATOMIC_ENERGY].detach().cpu().double().flatten()
        stress = -result[key.PRED_STRESS].detach().cpu().double()
        return Evaluation(
            site.new_zeros(batch.n_crystals).index_add_(0, batch.crystal_index, site),
            result[key.PRED_FORCE].detach().cpu().double(),
            stress[:, _VOIGT],
        )
