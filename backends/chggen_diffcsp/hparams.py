"""What a run directory's `hparams.yaml` says of its model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from chggen_diffcsp.network import MAX_WIDTH, CSPNetConfig
from chggen_kit.errors import CheckpointError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
_DEEPEST = 16
"""References to references; nobody nests them, so more are a circle."""
_MAX_FILE_BYTES = 2**20
_TARGETS = {"diffusion.CSPDiffusion": False, "diffusion_w_type.CSPDiffusion": True}
"""Ends of `model._target_`, and whether such a model generates species."""
_MAX_TIMESTEPS = 100_000
CLEAN_COST = 1e-5
"""A field whose loss weighs less than this was given to the network without noise (as the published code has it)."""


@dataclass(frozen=True)
class Settings:
    """How a model was set up.

    Attributes:
        network: the network's hyper-parameters.
        timesteps: T.
        sigma_begin: smallest and
        sigma_end: largest noise level of the coordinates, fractional.
        cost_lattice: weight of the cell's loss; under 1e-5 the cell was never noised.
        cost_coord: weight of the coordinates' loss; under 1e-5 they were never noised.
        dataset: name of the data that it was trained on, empty if not stated.
        max_atoms: atoms of the largest crystal of that data, None if not stated.
    """

    network: CSPNetConfig
    timesteps: int
    sigma_begin: float
    sigma_end: float
    cost_lattice: float
    cost_coord: float
    dataset: str = ""
    max_atoms: int | None = None

    def __post_init__(self) -> None:
        if type(self.timesteps) is not int or not 2 <= self.timesteps <= _MAX_TIMESTEPS:
            raise ValueError(f"timesteps must be a whole number from 2 to {_MAX_TIMESTEPS}, not {self.timesteps!r}")
        for name in ("sigma_begin", "sigma_end", "cost_lattice", "cost_coord"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a finite number of at least 0, not {value!r}")
        if not 0 < self.sigma_begin < self.sigma_end:
            raise ValueError(f"noise levels must rise from above 0, not from {self.sigma_begin} to {self.sigma_end}")
        if self.max_atoms is not None and (type(self.max_atoms) is not int or self.max_atoms < 1):
            raise ValueError(f"max_atoms must be a whole number of at least 1, not {self.max_atoms!r}")
        if not self.diffuses_lattice and not self.diffuses_coordinates:
            raise ValueError("both cost_lattice and cost_coord are 0, so the model generates nothing")

    @property
    def diffuses_species(self) -> bool:
        """Whether the model generates species."""
        return self.network.pred_type

    @property
    def diffuses_lattice(self) -> bool:
        """Whether the model generates cells."""
        return self.cost_lattice >= CLEAN_COST

    @property
    def diffuses_coordinates(self) -> bool:
        """Whether the model generates coordinates."""
        return self.cost_coord >= CLEAN_COST

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Inverse of `to_dict`.

        Raises:
            TypeError: when a value has another form.
            ValueError: for names that are missing or unknown, or values out of range.
        """
        for kind, given in ((cls, values), (CSPNetConfig, values.get("network"))):
            names = {field.name for field in fields(kind)}
            if not isinstance(given, Mapping) or set(given) != names:
                raise ValueError(f"{kind.__name__} must have exactly the values {', '.join(sorted(names))}")
        return cls(**{**values, "network": CSPNetConfig(**values["network"])})


def read_settings(path: Path) -> Settings:
    """Settings of the run whose `hparams.yaml` is at `path`.

    Raises:
        CheckpointError: when the file is missing, is not valid YAML, lacks a value, or describes another model.
    """
    config = _Config(path)
    target = str(config.get("model._target_"))
    kinds = [species for end, species in _TARGETS.items() if target.endswith("." + end)]
    if not kinds:
        raise CheckpointError(
            f"{path} describes a model of the class {target!r}. This backend loads structure prediction "
            "(`diffusion.CSPDiffusion`) and generation with species (`diffusion_w_type.CSPDiffusion`) alone."
        )
    config.require("model.decoder.act_fn", "silu")
    config.require("model.decoder.edge_style", "fc")
    config.require("model.beta_scheduler.scheduler_mode", "cosine")
    width = config.get("model.latent_dim")
    time = config.get("model.time_dim")
    if type(width) is not int or type(time) is not int or not 4 <= time <= MAX_WIDTH or time % 2 or width != 0:
        raise CheckpointError(
            f"{path} gives the model a time embedding of {time!r} numbers and a latent space of {width!r}: this "
            f"backend needs an even number from 4 to {MAX_WIDTH} and no latent space."
        )
    species = kinds[0]
    try:
        return Settings(
            network=CSPNetConfig(
                latent_dim=time,
                smooth=species,
                pred_type=species,
                **{
                    name: config.get(f"model.decoder.{name}")
                    for name in ("hidden_dim", "num_layers", "max_atoms", "num_freqs", "dis_emb", "ln", "ip")
                },
            ),
            timesteps=config.get("model.timesteps"),
            sigma_begin=config.get("model.sigma_scheduler.sigma_begin"),
            sigma_end=config.get("model.sigma_scheduler.sigma_end"),
            cost_lattice=config.get("model.cost_lattice"),
            cost_coord=config.get("model.cost_coord"),
            dataset=str(config.find("data.eval_model_name") or ""),
            max_atoms=config.find("data.max_atoms"),
        )
    except ValueError as error:
        raise CheckpointError(f"The settings in {path} describe no model of this kind: {error}.") from error


class _Config:
    """Plain YAML with references `${a.b}` to other values, which the published code left to its configuration library.

    Only a value that is nothing but a reference is resolved; `${oc.env:...}` and `${now:...}` stay as they are.
    """

    def __init__(self, path: Path) -> None:
        import yaml

        self._path = path
        if not path.is_file():
            raise CheckpointError(
                f"{path} is missing: a run directory of DiffCSP holds hparams.yaml beside its .ckpt file. Copy the "
                "whole directory."
            )
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise CheckpointError(f"{path} is larger than any configuration ({path.stat().st_size} bytes).")
        try:
            self._root = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise CheckpointError(f"{path} is not valid YAML ({error}). Copy the run directory again.") from error

    def find(self, name: str) -> Any:  # noqa: ANN401  (whatever the file says)
        """The value at the dotted `name`, references followed; None where there is none."""
        for _ in range(_DEEPEST):
            value = self._root
            for key in name.split("."):
                value = value.get(key) if isinstance(value, Mapping) else None
            match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if match is None:
                return value
            name = match.group(1)
        raise CheckpointError(f"The references in {self._path} go round in a circle at {name!r}.")

    def get(self, name: str) -> Any:  # noqa: ANN401  (whatever the file says)
        """The value at `name`."""
        value = self.find(name)
        if value is None:
            raise CheckpointError(
                f"{self._path} does not say what {name} is. It was written by another program or edited; copy the "
                "run directory again."
            )
        return value

    def require(self, name: str, value: str) -> None:
        """Refuse another value at `name`."""
        found = self.get(name)
        if found != value:
            raise CheckpointError(f"{self._path} has {name} = {found!r}; this backend supports {value!r} alone.")
