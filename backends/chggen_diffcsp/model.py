"""`DiffCSPScoreModel`: a checkpoint of the DiffCSP family as a `ScoreModel` of the kit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from chggen_diffcsp.checkpoint import Checkpoint, load_checkpoint
from chggen_diffcsp.gauge import niggli_changes
from chggen_diffcsp.network import CSPNet, time_embedding
from chggen_diffcsp.options import DiffCSPOptions
from chggen_diffcsp.pairs import PairCache
from chggen_diffcsp.sampling import model_card, sampling_defaults
from chggen_kit.errors import CheckpointError, InputError
from chggen_kit.interfaces.processes import NoiseProcess
from chggen_kit.interfaces.score_model import Capabilities, ScoreModel
from chggen_kit.processes import Fixed, FractionalTorusTable, VPMatrix
from chggen_kit.state import FIELD_NAMES, BatchContext, CrystalBatch, Fields, Known
from chggen_kit.torus import to_cartesian, wrap

SHIPPED = Path(__file__).parent / "weights" / "diffcsp-mp-0.safetensors"
"""The checkpoint that comes with the kit; its model card lies beside it."""
_UNTOUCHED_A = 1e-5
"""What is decoded this close to where it was encoded (float32 rounding) gets its float64 numbers back."""
_PAIRS_AT_A_TIME = 2048
"""Pairs of atoms in one call of the network: more only spill the processor's caches."""


def load(options: DiffCSPOptions) -> DiffCSPScoreModel:
    """Load the score model.

    Raises:
        CheckpointError: when the checkpoint cannot be used (see `load_checkpoint`), or the device does not exist.
        InputError: when `start_below` is above the checkpoint's noisiest time.
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
    return DiffCSPScoreModel(
        checkpoint, device=device, start_below=options.start_below, largest_entry=options.largest_entry
    )


class DiffCSPScoreModel(ScoreModel):
    """Coordinates diffuse on the torus in fractional units, cells as matrices, species as one-hot rows.

    Times are the network's whole numbers, 0 (clean) to T. Which fields diffuse is the checkpoint's matter: species
    only where it was trained so; cell or coordinates not where their loss had no weight, since the network was then
    given the clean values at all times.

    Args:
        checkpoint: the network and its schedules.
        device: where the network is.
        start_below: noisiest time of the grids; None for what the checkpoint was shipped with, else T.
        largest_entry: what counts as a cell, or species, that blew up.

    Raises:
        InputError: when `start_below` is above T.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: torch.device | str = "cpu",
        start_below: int | None = None,
        largest_entry: float = 1e4,
    ) -> None:
        settings = checkpoint.settings
        self._network = checkpoint.network.eval().requires_grad_(requires_grad=False)
        self._device = torch.device(device)
        self._pairs = PairCache()
        self._top = start_below or checkpoint.facts.get("start_below") or settings.timesteps
        if self._top > settings.timesteps:
            raise InputError(
                f"start_below = {self._top} is above the noisiest time of {checkpoint.name}, {settings.timesteps}."
            )
        self._processes = _processes(checkpoint, largest_entry)
        diffused = tuple(name for name in FIELD_NAMES if self._processes[name].moves)
        self._capabilities = Capabilities(
            diffused=diffused,
            elements=frozenset(checkpoint.facts.get("elements") or range(1, settings.network.max_atoms + 1)),
            max_atoms=settings.max_atoms,
            time_unit="discrete step",
            lattice_gauge="niggli",
            rotation_equivariant=True,
            inversion_equivariant=True,
            translation_invariant=True,
            masks=diffused,
            devices=("cpu", "cuda"),
            licence=str(checkpoint.facts.get("licence", "not stated")),
            checkpoint=checkpoint.name,
            checkpoint_sha256=checkpoint.sha256,
            sampling_defaults=sampling_defaults(checkpoint, self._top),
        )

    @property
    def network(self) -> CSPNet:
        """The network."""
        return self._network

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return self._capabilities

    @property
    def processes(self) -> Mapping[str, NoiseProcess]:
        """Fractional torus, variance-preserving matrices, and what the checkpoint keeps fixed."""
        return self._processes

    def times(self, num_steps: int) -> Sequence[float]:
        """`num_steps` of the network's times, evenly from the noisiest one down to 1, then 0.

        Raises:
            InputError: when the network has fewer.
        """
        if not 2 <= num_steps <= self._top:
            raise InputError(
                f"{num_steps} steps were asked for, but {self._capabilities.checkpoint} takes from 2 to {self._top}: "
                "its times are whole numbers. Set the sampler option `steps`."
            )
        stride = (self._top - 1) / (num_steps - 1)
        return (*(float(round(self._top - stride * index)) for index in range(num_steps)), 0.0)

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        """Float32 fields on the model's device; cells that are known are Niggli-reduced.

        Raises:
            InputError: when a field that the checkpoint keeps fixed is to be generated, or an element is beyond it.
        """
        known.check(batch)
        for name in FIELD_NAMES:
            if not self._processes[name].moves and not bool(getattr(known, name).all()):
                raise InputError(
                    f"The score model {self._capabilities.checkpoint} does not generate the field {name!r}, but the "
                    "mask asks for values of it. Give them, or choose a checkpoint or backend that diffuses this field."
                )
        self._check_elements(batch)
        change = niggli_changes(batch.lattice, known.lattice)
        lattice = change @ batch.lattice.double().cpu()
        to_reduced = torch.linalg.inv(change).round()
        index = batch.crystal_index.cpu()
        frac = wrap(torch.einsum("ai,aij->aj", batch.frac_coords.double().cpu(), to_reduced[index]))
        species = batch.species.to(self._device)
        if self._processes["species"].moves:
            species = functional.one_hot(species - 1, self._network.config.max_atoms).float()
        original = {name: getattr(batch, name).detach().cpu().clone() for name in (*FIELD_NAMES, "num_atoms")}
        placed = torch.zeros(batch.n_crystals, dtype=torch.bool).index_fill_(0, index[known.frac_coords.cpu()], True)
        context = BatchContext(
            batch.num_atoms.to(self._device),
            batch.crystal_index.to(self._device),
            {
                "original": original,
                "change": change,
                "free_axes": ~placed & ~known.lattice.cpu(),
                "sizes": tuple(batch.num_atoms.tolist()),
            },
            basis=to_reduced,
        )
        fields = {
            "frac_coords": wrap(frac.to(device=self._device, dtype=torch.float32)),
            "species": species,
            "lattice": lattice.to(device=self._device, dtype=torch.float32),
        }
        return Fields(fields, context)

    def decode(self, fields: Fields) -> CrystalBatch:
        """Float64 crystals on the CPU, in the user's own cells and axes; what did not move is what the user gave."""
        private = fields.context.private
        original: Mapping[str, Tensor] = private["original"]
        index = fields.context.crystal_index.cpu()
        change: Tensor = private["change"]
        lattice = torch.linalg.inv(change).round() @ fields["lattice"].detach().double().cpu()
        given = original["lattice"].double()
        # Entries of a reduced cell are rounded, and sums of up to a few of them make up the user's.
        near = _UNTOUCHED_A * change.abs().amax(dim=(1, 2)).clamp(min=1)
        same_cell = (lattice - given).abs().amax(dim=(1, 2)) <= near
        lattice = torch.where(same_cell[:, None, None], given, lattice)
        frac = torch.einsum("ai,aij->aj", fields["frac_coords"].detach().double().cpu(), change[index])
        # Half of the cells that are drawn are left-handed. Where nothing ties the axes to the user's, all three are
        # turned round, which leaves every atom where it is: lengths and angles then mean the crystal, not its mirror
        # image.
        turn = private["free_axes"] & ~same_cell & (torch.linalg.det(lattice) < 0)
        lattice = torch.where(turn[:, None, None], -lattice, lattice)
        frac = torch.where(turn[index][:, None], -frac, frac)
        start = original["frac_coords"].double()
        offset = frac - start
        same_place = to_cartesian(offset - torch.round(offset), lattice, index).norm(dim=1) <= _UNTOUCHED_A
        species = fields["species"].detach().cpu()
        return CrystalBatch(
            wrap(torch.where(same_place[:, None], start, frac)),
            lattice,
            species.argmax(dim=1) + 1 if species.is_floating_point() else original["species"],
            original["num_atoms"],
        )

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        """The network's output for the diffused fields; `t` `[n_crystals]` holds whole numbers from 0 to T."""
        context = fields.context
        sizes: Sequence[int] = context.private["sizes"]
        embedded = time_embedding(
            t.to(self._device).round().clamp(min=1).to(torch.int64), self._network.config.latent_dim
        )
        outputs = []
        with torch.no_grad():
            first = 0
            for low, high in _groups(sizes):
                crystals, atoms = slice(low, high), slice(first, first + sum(sizes[low:high]))
                first = atoms.stop
                graph = self._pairs.get(sizes[low:high], self._device)
                outputs.append(
                    self._network(
                        embedded[crystals],
                        fields["species"][atoms],
                        fields["frac_coords"][atoms],
                        fields["lattice"][crystals],
                        graph,
                    )
                )
        prediction = {
            "frac_coords": torch.cat([output.coords for output in outputs]),
            "lattice": torch.cat([output.lattice for output in outputs]),
        }
        if self._network.config.pred_type:
            prediction["species"] = torch.cat([output.types for output in outputs])
        return Fields({name: prediction[name] for name in self._capabilities.diffused}, context)

    def _check_elements(self, batch: CrystalBatch) -> None:
        foreign = sorted(set(batch.species.tolist()) - self._capabilities.elements)
        if foreign:
            from ase.data import chemical_symbols

            names = ", ".join(chemical_symbols[z] if 0 <= z < len(chemical_symbols) else str(z) for z in foreign)
            raise InputError(
                f"The score model {self._capabilities.checkpoint} does not know {names}. Choose another composition "
                "or backend, or train a checkpoint on structures with these elements."
            )


def _processes(checkpoint: Checkpoint, largest_entry: float) -> dict[str, NoiseProcess]:
    settings, schedules = checkpoint.settings, checkpoint.schedules
    betas = schedules["beta_scheduler.betas"].tolist()
    cumulative = schedules["beta_scheduler.alphas_cumprod"].tolist()
    torus = FractionalTorusTable(
        schedules["sigma_scheduler.sigmas"].tolist(), schedules["sigma_scheduler.sigmas_norm"].tolist()
    )
    return {
        "frac_coords": torus if settings.diffuses_coordinates else Fixed("atom"),
        "species": (
            VPMatrix("atom", betas, cumulative, largest_entry=largest_entry)
            if settings.diffuses_species
            else Fixed("atom")
        ),
        "lattice": (
            VPMatrix("crystal", betas, cumulative, largest_entry=largest_entry)
            if settings.diffuses_lattice
            else Fixed("crystal")
        ),
    }


def _groups(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Consecutive crystals, first and one past the last, of at most `_PAIRS_AT_A_TIME` pairs where possible."""
    groups = []
    low, total = 0, 0
    for crystal, size in enumerate(sizes):
        if crystal > low and total + size**2 > _PAIRS_AT_A_TIME:
            groups.append((low, crystal))
            low, total = crystal, 0
        total += size**2
    groups.append((low, len(sizes)))
    return groups
