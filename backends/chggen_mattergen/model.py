"""`MatterGenScoreModel`: a MatterGen model as a `ScoreModel` of the kit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from chggen_kit.errors import CheckpointError, InputError, PluginError
from chggen_kit.interfaces.processes import NoiseProcess
from chggen_kit.interfaces.score_model import Capabilities, ScoreModel
from chggen_kit.processes import AbsorbingCategorical, Fixed, LatticeVP, NumAtomsTorusVE
from chggen_kit.state import FIELD_NAMES, BatchContext, CrystalBatch, Fields, Known
from chggen_kit.torus import wrap
from chggen_mattergen.checkpoint import Checkpoint, load_checkpoint
from chggen_mattergen.gauge import Gauge
from chggen_mattergen.guidance import atomic_numbers, make_guidance
from chggen_mattergen.hub import find_model
from chggen_mattergen.network import Network
from chggen_mattergen.options import MatterGenOptions
from chggen_mattergen.package import load_package

_MAX_ATOMS = 20
"""Atoms of the largest cells in Alex-MP-20, the training set of all released models."""
_SNR_POSITIONS, _SNR_CELL = 0.4, 0.2
"""Of the published sampler."""
_SAMPLING_DEFAULTS = {
    "steps": 1000,
    "corrector_steps": 1,
    "corrector_first": True,
    "corrector": "langevin-norm",
    "snr": _SNR_POSITIONS,
    "passes": 1,
    "jump_length": 10,
    "align": "mean",
}
"""The published sampler's. Alignment is added, as the other backends have it; nothing is known in plain generation."""


def load(options: MatterGenOptions) -> MatterGenScoreModel:
    """Load the score model.

    Raises:
        CheckpointError: when the model cannot be found, downloaded or read, or the device does not exist.
        PluginError: when the package mattergen is missing, or of an unknown version.
        InputError: for guidance that the model cannot give.
    """
    load_package()
    if options.checkpoint is None:
        raise CheckpointError(
            "The backend mattergen ships no weights. Name a model with --checkpoint: a folder with config.yaml and "
            "checkpoints/last.ckpt, or a released name such as mattergen_base, which is downloaded."
        )
    checkpoint = load_checkpoint(find_model(options.checkpoint))
    try:
        device = torch.device(options.device)
        checkpoint.module.to(device)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(
            f"The model {checkpoint.name} cannot be moved to the device {options.device!r}: "
            f"{str(error).splitlines()[0]} Choose `cpu`, or `cuda` where PyTorch finds a GPU."
        ) from error
    return MatterGenScoreModel(checkpoint, options, device=device)


class MatterGenScoreModel(ScoreModel):
    """Positions, cells and (unless the model predicts structures of given composition) species diffuse together.

    Fields: fractional coordinates in the reduced basis; cells as symmetric matrices in Å; species one-hot over atomic
    numbers 1 to 100 and the mask, or as they are where they don't diffuse. Times run from 1 to 0 (clean).

    Args:
        checkpoint: the network with its noise processes.
        options: guidance and restrictions.
        device: where the network is.
    """

    def __init__(
        self, checkpoint: Checkpoint, options: MatterGenOptions, *, device: torch.device | str = "cpu"
    ) -> None:
        modules: Any = load_package()
        self._device = torch.device(device)
        module = checkpoint.module
        self._processes = _processes_of(module, checkpoint.name, as_published=options.upstream_norms)
        if self._processes["species"].moves and self._n_classes != int(module.model.fc_atom.out_features):
            raise CheckpointError(
                f"The config.yaml of the model {checkpoint.name} has noise for {self._n_classes} kinds of atoms, but "
                f"its network knows {int(module.model.fc_atom.out_features)}. The file was changed, or belongs to "
                "another model."
            )
        known_elements = frozenset(modules["mattergen.common.utils.globals"].SELECTED_ATOMIC_NUMBERS)
        allowed = _elements_of("elements", options.elements, known_elements)
        system = _elements_of("chemical_system", options.chemical_system, known_elements)
        if allowed and system and not set(allowed) & set(system):
            raise InputError(
                f"The options elements ({'-'.join(options.elements)}) and chemical_system "
                f"({'-'.join(options.chemical_system)}) have no element in common, so that none could be drawn. "
                "Leave one out."
            )
        guidance = make_guidance(
            options.chemical_system,
            options.properties,
            options.guidance_factor,
            list(module.model.cond_fields_model_was_trained_on),
        )
        self._network = Network(module, guidance, allowed or None)
        diffused = tuple(name for name in FIELD_NAMES if self._processes[name].moves)
        self._capabilities = Capabilities(
            diffused=diffused,
            elements=known_elements,
            max_atoms=_MAX_ATOMS,
            time_unit="fraction of the noising time, 0 to 1",
            lattice_gauge="polar",
            rotation_equivariant=True,
            # A left-handed cell is brought to a right-handed basis by an inversion, which turns the predictions around.
            inversion_equivariant=False,
            translation_invariant=True,
            masks=diffused,
            devices=("cpu", "cuda"),
            licence="not stated (MIT for the released models)",
            checkpoint=checkpoint.name,
            checkpoint_sha256=checkpoint.sha256,
            sampling_defaults=_SAMPLING_DEFAULTS,
            atom_counts=modules["mattergen.common.data.num_atoms_distribution"].NUM_ATOMS_DISTRIBUTIONS["ALEX_MP_20"],
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return self._capabilities

    @property
    def processes(self) -> Mapping[str, NoiseProcess]:
        """Fractional torus, symmetric cells, absorbing species (fixed for models that predict structures)."""
        return self._processes

    def times(self, num_steps: int) -> Sequence[float]:
        """1, 1 - 1/N, ..., 1/N, 0."""
        return [1 - step / num_steps for step in range(num_steps)] + [0.0]

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        """Float32 fields on the model's device, cells that are known in MatterGen's convention.

        Raises:
            InputError: when a known element was never seen in training, or species are to be generated by a model that
                keeps them.
        """
        known.check(batch)
        diffuses_species = self._processes["species"].moves
        if not diffuses_species and not bool(known.species.all()):
            raise InputError(
                f"The model {self._capabilities.checkpoint} predicts structures of a given composition, but the mask "
                "asks for species. Give them all, or use a model for generation such as mattergen_base."
            )
        self._check_elements(batch, known)
        original = {name: getattr(batch, name).detach().cpu().clone() for name in (*FIELD_NAMES, "num_atoms")}
        index = batch.crystal_index.cpu()
        gauge, factor = Gauge.of(original["lattice"].double(), known.lattice.cpu())
        frac = gauge.frac_in(original["frac_coords"].double(), index).to(torch.float32)
        species = original["species"]
        if diffuses_species:
            classes = self._n_classes
            # Species that are to be drawn may be anything in the template.
            species = torch.nn.functional.one_hot((species - 1).clamp(0, classes - 2), classes).to(torch.float32)
        values = {
            "frac_coords": wrap(frac).to(self._device),
            "species": species.to(self._device),
            "lattice": factor.to(device=self._device, dtype=torch.float32),
        }
        num_atoms = batch.num_atoms.to(self._device)
        private = {
            "original": original,
            "gauge": gauge,
            "encoded": dict(values),
            "graphs": self._network.graphs(num_atoms),
        }
        basis = torch.linalg.inv(gauge.transformation).round()
        return Fields(values, BatchContext(num_atoms, batch.crystal_index.to(self._device), private, basis))

    def decode(self, fields: Fields) -> CrystalBatch:
        """Float64 crystals on the CPU in the user's basis, axes and atom order.

        What was not moved since `encode` comes back bit for bit. A species that is still masked (of a crystal that
        was given up on the way) is that of the template.
        """
        private = fields.context.private
        original: Mapping[str, Tensor] = private["original"]
        encoded: Mapping[str, Tensor] = private["encoded"]
        gauge: Gauge = private["gauge"]
        index = fields.context.crystal_index.cpu()
        moved_atoms = (fields["frac_coords"] != encoded["frac_coords"]).any(dim=1).cpu()
        moved_cells = (fields["lattice"] != encoded["lattice"]).flatten(1).any(dim=1).cpu()
        frac = gauge.frac_out(fields["frac_coords"].detach().double().cpu(), index)
        lattice = gauge.lattice_out(fields["lattice"].detach().double().cpu())
        species = original["species"]
        if self._processes["species"].moves:
            drawn = fields["species"].detach().argmax(dim=-1).cpu()
            species = torch.where(drawn == self._n_classes - 1, species, drawn + 1)
        return CrystalBatch(
            torch.where(moved_atoms[:, None], frac, wrap(original["frac_coords"].double())),
            torch.where(moved_cells[:, None, None], lattice, original["lattice"].double()),
            species,
            original["num_atoms"],
        )

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        """Scores times standard deviations of positions (fractional) and cells (Å), logits of clean species.

        Rows of a crystal that has no neighbours within the cutoff, or whose cell has exploded or collapsed, are
        not-a-number: the sampler ends that crystal and goes on with the others.
        """
        context = fields.context
        species = fields["species"]
        if self._processes["species"].moves:
            species = species.argmax(dim=-1) + 1
        out = self._network(
            fields["frac_coords"],
            fields["lattice"],
            species,
            context.num_atoms,
            t.to(fields["lattice"]),
            context.private.get("graphs"),
        )
        outputs = {"frac_coords": out["pos"], "lattice": out["cell"]}
        if self._processes["species"].moves:
            outputs["species"] = out["atomic_numbers"]
        return Fields(outputs, context)

    @property
    def _n_classes(self) -> int:
        process = self._processes["species"]
        return process.n_classes if isinstance(process, AbsorbingCategorical) else 0

    def _check_elements(self, batch: CrystalBatch, known: Known) -> None:
        given = batch.species[known.species].tolist()
        foreign = sorted(set(given) - self._capabilities.elements)
        if foreign:
            from ase.data import chemical_symbols

            names = ", ".join(chemical_symbols[z] if z < len(chemical_symbols) else str(z) for z in foreign)
            raise InputError(
                f"MatterGen was not trained on {names}. Choose another composition, or another backend "
                "(`chggen plugins` lists what is installed)."
            )


def _elements_of(option: str, symbols: Sequence[str], known: Collection[int]) -> list[int]:
    """Atomic numbers of the elements that an option names.

    Raises:
        InputError: for what is no element, or was never seen in training.
    """
    numbers = atomic_numbers(symbols)
    strangers = [symbol for symbol, number in zip(symbols, numbers, strict=True) if number not in known]
    if strangers:
        raise InputError(f"MatterGen was not trained on {', '.join(strangers)}: leave it out of `{option}`.")
    return numbers


def _processes_of(module: Any, name: str, *, as_published: bool) -> dict[str, NoiseProcess]:  # noqa: ANN401
    """The kit's processes with the parameters of MatterGen's own.

    Raises:
        CheckpointError: for a process that the kit has no counterpart of, or parameters that cannot be.
    """
    try:
        return _counterparts(module.corruption, name, as_published=as_published)
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, PluginError) as error:
        raise CheckpointError(
            f"The config.yaml of the model {name} describes noise that cannot be ({error}). The file was written by "
            "another version of mattergen, or changed."
        ) from error


def _counterparts(corruption: Any, name: str, *, as_published: bool) -> dict[str, NoiseProcess]:  # noqa: ANN401
    sdes, discrete = dict(corruption.sdes), dict(corruption.discrete_corruptions)
    kinds = {key: type(value).__name__ for key, value in {**sdes, **discrete}.items()}
    expected = {"pos": "NumAtomsVarianceAdjustedWrappedVESDE", "cell": "LatticeVPSDE"}
    if "atomic_numbers" in kinds:
        expected["atomic_numbers"] = "D3PMCorruption"
    species = discrete.get("atomic_numbers")
    absorbing = species is None or (type(species.d3pm).__name__ == "MaskDiffusion" and species.offset == 1)
    if kinds != expected or not absorbing or float(sdes["pos"].wrapping_boundary) != 1.0:
        raise CheckpointError(
            f"The model {name} diffuses its fields by processes that the kit does not know ({kinds}). The released "
            "kinds are: wrapped positions, cells with a density-dependent limit, and masked species."
        )
    pos, cell = sdes["pos"], sdes["cell"]
    return {
        "frac_coords": NumAtomsTorusVE(float(pos.sigma_min), float(pos.sigma_max), as_published=as_published),
        "lattice": LatticeVP(
            float(cell.beta_0),
            float(cell.beta_1),
            float(cell.limit_density),
            float(cell.limit_var_scaling_constant),
            snr_ratio=_SNR_CELL / _SNR_POSITIONS,
            as_published=as_published,
        ),
        "species": Fixed("atom") if species is None else AbsorbingCategorical(int(species.d3pm.dim)),
    }
