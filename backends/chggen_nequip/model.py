"""`NequipScoreModel`: the trained network as a `ScoreModel` of the kit."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chggen_kit.errors import CheckpointError, InputError
from chggen_kit.interfaces.processes import NoiseProcess
from chggen_kit.interfaces.score_model import Capabilities, ScoreModel
from chggen_kit.processes import Fixed, TorusVE
from chggen_kit.state import FIELD_NAMES, BatchContext, CrystalBatch, Fields, Known
from chggen_kit.torus import to_cartesian, wrap
from chggen_kit.training.held_out import read_held_out
from chggen_nequip.checkpoint import Checkpoint, load_checkpoint
from chggen_nequip.graph import build_graph
from chggen_nequip.options import NequipOptions

SHIPPED = Path(__file__).parent / "weights" / "nequip-mp-3.safetensors"
"""The checkpoint that comes with the kit; its model card lies beside it."""
_SAMPLING_DEFAULTS = {"steps": 60, "corrector_steps": 0, "snr": 0.2, "passes": 4, "jump_length": 10, "align": "mean"}
"""Chosen by measurement: scripts/compare_sampling.py, results in docs/samplers.md."""
_UNTOUCHED_A = 1e-5
"""A decoded atom this close to where it was encoded (float32 rounding) gets its float64 coordinates back."""
_MAX_ATOMS_AT_A_TIME = 512
"""Atoms a network call; more in one call only spill the processor's caches."""


def load(options: NequipOptions) -> NequipScoreModel:
    """Load the score model.

    Raises:
        CheckpointError: when the checkpoint cannot be used (see `load_checkpoint`), or the device does not exist.
    """
    path = options.checkpoint or SHIPPED
    # Only the shipped file has a published checksum.
    expected = model_card(SHIPPED)["sha256"] if options.checkpoint is None else None
    checkpoint = load_checkpoint(path, sha256=expected)
    try:
        device = torch.device(options.device)
        checkpoint.network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(
            f"The checkpoint {path} cannot be moved to the device {options.device!r}: {str(error).splitlines()[0]} "
            "Choose `cpu`, or `cuda` where PyTorch finds a GPU."
        ) from error
    return NequipScoreModel(checkpoint, name=path.name, device=device)


def model_card(checkpoint: Path) -> dict[str, Any]:
    """The model card of `checkpoint`, the JSON file beside it.

    Raises:
        CheckpointError: when there is none.
    """
    path = checkpoint.with_suffix(".json")
    if not path.is_file():
        raise CheckpointError(f"The model card {path} is missing: the package is not complete. Install it again.")
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return card


class NequipScoreModel(ScoreModel):
    """Coordinates diffuse on the torus with Cartesian noise, t = sigma in Å; species and lattice are fixed.

    Args:
        checkpoint: the network and its facts.
        name: id of the checkpoint.
        device: where the network is.
    """

    def __init__(self, checkpoint: Checkpoint, *, name: str, device: torch.device | str = "cpu") -> None:
        self._checkpoint = checkpoint
        self._network = checkpoint.network.eval().requires_grad_(requires_grad=False)
        self._device = torch.device(device)
        self._torus = TorusVE(checkpoint.sigma_min, checkpoint.sigma_max)
        self._capabilities = Capabilities(
            diffused=("frac_coords",),
            elements=checkpoint.elements,
            max_atoms=checkpoint.max_atoms,
            time_unit="sigma in Å",
            lattice_gauge="any",
            rotation_equivariant=True,
            inversion_equivariant=True,
            translation_invariant=True,
            masks=("frac_coords",),
            devices=("cpu", "cuda"),
            licence=str(checkpoint.facts.get("licence", "not stated")),
            checkpoint=name,
            checkpoint_sha256=checkpoint.sha256,
            sampling_defaults=_SAMPLING_DEFAULTS,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return self._capabilities

    @property
    def processes(self) -> Mapping[str, NoiseProcess]:
        """Torus VE for the coordinates; species and lattice stay."""
        return {"frac_coords": self._torus, "species": Fixed("atom"), "lattice": Fixed("crystal")}

    def times(self, num_steps: int) -> Sequence[float]:
        """Sigma from the largest trained one down to the smallest, geometric, then 0."""
        return self._torus.times(num_steps)

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        """Float32 fields on the model's device.

        Raises:
            InputError: when a species or lattice is to be generated, or an element was never seen in training.
        """
        known.check(batch)
        for name in ("species", "lattice"):
            if not bool(getattr(known, name).all()):
                raise InputError(
                    f"The score model {self._capabilities.checkpoint} generates coordinates only, but the mask asks "
                    f"for values of the field {name!r}. Give them, or choose a backend that diffuses this field."
                )
        self._check_elements(batch)
        frac = wrap(batch.frac_coords.to(device=self._device, dtype=torch.float32))
        original = {name: getattr(batch, name).detach().cpu().clone() for name in (*FIELD_NAMES, "num_atoms")}
        context = BatchContext(
            batch.num_atoms.to(self._device), batch.crystal_index.to(self._device), {"original": original}
        )
        lattice = batch.lattice.to(device=self._device, dtype=torch.float32)
        return Fields({"frac_coords": frac, "species": batch.species.to(self._device), "lattice": lattice}, context)

    def decode(self, fields: Fields) -> CrystalBatch:
        """Float64 crystals on the CPU, in the user's own cell; atoms that did not move are where the user had them."""
        original: Mapping[str, Tensor] = fields.context.private["original"]
        lattice, start = original["lattice"].double(), original["frac_coords"].double()
        frac = fields["frac_coords"].detach().double().cpu()
        index = fields.context.crystal_index.cpu()
        offset = frac - start
        moved = to_cartesian(offset - torch.round(offset), lattice, index).norm(dim=1) > _UNTOUCHED_A
        return CrystalBatch(
            wrap(torch.where(moved[:, None], frac, start)), lattice, original["species"], original["num_atoms"]
        )

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        """Sigma * score `[n_atoms, 3]` in Cartesian axes, dimensionless; `t` `[n_crystals]` is sigma in Å."""
        context = fields.context
        frac, lattice, species = wrap(fields["frac_coords"]), fields["lattice"], fields["species"]
        sigma = t.to(device=self._device, dtype=torch.float32).clamp(min=self._checkpoint.sigma_min)
        bounds = torch.nn.functional.pad(context.num_atoms.cumsum(0), (1, 0)).tolist()
        parts = []
        for low, high in _groups(context.num_atoms.tolist()):
            atoms, crystals = slice(bounds[low], bounds[high]), slice(low, high)
            graph = build_graph(
                frac[atoms], lattice[crystals], context.num_atoms[crystals], self._network.architecture.cutoff
            )
            with torch.no_grad():
                parts.append(
                    self._network(species[atoms], context.crystal_index[atoms] - low, graph, sigma[crystals]).detach()
                )
        return Fields({"frac_coords": torch.cat(parts)}, context)

    def never_trained_on(self, formulas: Collection[str]) -> frozenset[str] | None:
        """Of the shipped checkpoint the formulas of the shipped list; other checkpoints do not say."""
        if self._checkpoint.sha256 != model_card(SHIPPED)["sha256"]:
            return None
        return read_held_out() & frozenset(formulas)

    def _check_elements(self, batch: CrystalBatch) -> None:
        foreign = sorted(set(batch.species.tolist()) - self._capabilities.elements)
        if foreign:
            from ase.data import chemical_symbols

            names = ", ".join(chemical_symbols[z] if z < len(chemical_symbols) else str(z) for z in foreign)
            raise InputError(
                f"The score model {self._capabilities.checkpoint} was not trained on {names}. Choose another "
                "composition or backend, or train a checkpoint on structures with these elements."
            )


def _groups(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Consecutive crystals, first and one past the last, of at most `_MAX_ATOMS_AT_A_TIME` atoms where possible."""
    groups = []
    low, total = 0, 0
    for crystal, size in enumerate(sizes):
        if crystal > low and total + size > _MAX_ATOMS_AT_A_TIME:
            groups.append((low, crystal))
            low, total = crystal, 0
        total += size
    groups.append((low, len(sizes)))
    return groups
