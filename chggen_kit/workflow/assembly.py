"""From names and options to the parts of a run, and the checks that they fit together."""

from __future__ import annotations

import logging
import platform
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pymatgen.core import Element

from chggen_kit import __version__
from chggen_kit.errors import InputError
from chggen_kit.interfaces import HostRefiner, Potential, Relaxer, Sampler, ScoreModel
from chggen_kit.plugins import Registry
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig
from chggen_kit.workflow.records import LatticeSource

_LOG = logging.getLogger(__name__)
_LIBRARIES = ("torch", "numpy", "pymatgen", "ase", "spglib")


@dataclass(frozen=True)
class Parts:
    """What a run works with; None for what it does not need."""

    model: ScoreModel | None
    sampler: Sampler
    unconditional_sampler: Sampler | None
    refiner: HostRefiner | None
    potential: Potential | None
    relaxer: Relaxer | None
    denoiser: Sampler | None = None


def assemble(config: GenerateConfig | InpaintConfig, registry: Registry) -> Parts:
    """Make the parts that `config` names; the score model only when a sampler asks for it.

    Raises:
        PluginError: for unknown or broken plug-ins.
        InputError: for options that a plug-in refuses.
        CheckpointError: when weights cannot be read.
    """
    sampler = registry.create_sampler(config.sampler.name, config.sampler.options)
    unconditional: Sampler | None = None
    refiner: HostRefiner | None = None
    denoiser: Sampler | None = None
    relaxes = True
    if isinstance(config, GenerateConfig):
        choice = config.unconditional_sampler
        unconditional = registry.create_sampler(choice.name, choice.options)
        if config.workflow == "anneal":
            denoiser = registry.create_sampler(config.anneal.sampler.name, config.anneal.sampler.options)
            if not denoiser.needs_model:
                raise InputError(
                    "The workflow `anneal` denoises with a score model, which the sampler "
                    f"{config.anneal.sampler.name} does not use. Choose predictor-corrector for it "
                    "(what draws the structures is another matter)."
                )
        options = _given_refiner_options(config, registry)
        refiner = registry.create_host_refiner(config.refiner.name, options)
    else:
        relaxes = config.relax
    model: ScoreModel | None = None
    if any(one is not None and one.needs_model for one in (sampler, unconditional, denoiser)):
        options = dict(config.backend.options)
        if config.checkpoint is not None:
            options["checkpoint"] = str(config.checkpoint)
        if isinstance(config, GenerateConfig) and config.chemical_system:
            options |= _system_options(config, registry)
        model = registry.create_score_model(config.backend.name, options)
    potential: Potential | None = None
    relaxer: Relaxer | None = None
    if relaxes:
        potential = registry.create_potential(config.potential.name, config.potential.options)
        relaxer = registry.create_relaxer(config.relaxer.name, config.relaxer.options, potential=potential)
    return Parts(model, sampler, unconditional, refiner, potential, relaxer, denoiser)


def _system_options(config: GenerateConfig, registry: Registry) -> dict[str, Any]:
    """The chemical system as an option of the score model.

    Raises:
        InputError: when the score model has no such option, or was given another system by it.
    """
    entry = registry.get("score-model", config.backend.name)
    model = entry.load_options()
    # One in another environment need not be known here: its worker checks the option.
    unknown = model is None and entry.environment is not None
    if not unknown and (model is None or "chemical_system" not in model.model_fields):
        raise InputError(
            f"The backend {config.backend.name} cannot be guided to a chemical system. Choose another with --backend "
            "(for example mattergen, with a model trained on chemical systems), or give a formula."
        )
    if "chemical_system" in config.backend.options:
        raise InputError(
            "The chemical system is given twice, for the run and as an option of the backend. Leave one out."
        )
    return {"chemical_system": list(config.chemical_system)}


def _given_refiner_options(config: GenerateConfig, registry: Registry) -> dict[str, Any]:
    """What counts as symmetric for the results counts for hosts too, unless the refiner's own options say else."""
    options = dict(config.refiner.options)
    model = registry.options_model("host-refiner", config.refiner.name)
    if model is not None and "excluded_groups" in model.model_fields:
        options.setdefault("excluded_groups", list(config.excluded_groups))
    return options


def refiner_options(config: GenerateConfig, registry: Registry) -> dict[str, Any]:
    """Options of the run's refiner (which exists) as plain JSON, those left at their defaults too."""
    options = _given_refiner_options(config, registry)
    model = registry.options_model("host-refiner", config.refiner.name)
    return options if model is None else model.model_validate(options).model_dump(mode="json")


def choose_lattice(config: GenerateConfig, parts: Parts) -> LatticeSource:
    """Where the cells of whole structures come from: the user's choice, or `generate` where the parts can.

    Raises:
        InputError: when they cannot, and were asked to.
    """
    sampler, model = parts.unconditional_sampler, parts.model
    if config.start_from is not None:
        if config.lattice == "search":
            raise InputError("Cells cannot be searched for a structure that is given: it has one.")
        if config.lattice is None:
            return "given"
    if sampler is not None and not sampler.needs_model:
        draws_cells = sampler.draws_cells
    else:
        draws_cells = model is not None and sampler is not None and model.processes["lattice"].moves
    if config.lattice == "generate" and not draws_cells:
        raise InputError(
            f"Cells cannot be generated: the backend {config.backend.name} with the sampler "
            f"{config.unconditional_sampler.name} draws coordinates only. Use --lattice search, or choose a backend "
            "that diffuses the cell."
        )
    return config.lattice or ("generate" if draws_cells else "search")


def check_elements(parts: Parts, symbols: Collection[str], n_atoms: int) -> None:
    """Refuse elements that the score model or the potential do not know; warn of cells larger than any trained on.

    Raises:
        InputError: naming the elements.
    """
    covered = {}
    if parts.model is not None:
        capabilities = parts.model.capabilities
        covered[f"score model ({capabilities.checkpoint})"] = capabilities.elements
        if capabilities.max_atoms is not None and n_atoms > capabilities.max_atoms:
            _LOG.warning(
                "A cell of this run holds %d atoms; the score model was trained on up to %d.",
                n_atoms,
                capabilities.max_atoms,
            )
    if parts.potential is not None:
        covered[f"potential ({parts.potential.info.name})"] = parts.potential.info.elements
    for what, elements in covered.items():
        missing = sorted(symbol for symbol in set(symbols) if Element(symbol).Z not in elements)
        if missing:
            raise InputError(
                f"The {what} does not cover {', '.join(missing)}. Choose another with --backend or --potential "
                "(`chggen plugins` lists what is installed)."
            )


def describe_parts(parts: Parts) -> dict[str, Any]:
    """What the plug-ins resolved to, as plain JSON: part of the identity of a run."""
    described: dict[str, Any] = {}
    if parts.model is not None:
        capabilities = parts.model.capabilities
        described["checkpoint"] = capabilities.checkpoint
        described["checkpoint_sha256"] = capabilities.checkpoint_sha256
        described["sampling_defaults"] = dict(capabilities.sampling_defaults)
    if parts.potential is not None:
        described["potential"] = parts.potential.info.name
        described["energy_frame"] = parts.potential.info.energy_frame
    return described


def library_versions() -> dict[str, str]:
    """Versions of Python, of the libraries that results depend on, and of the kit."""
    found = {"python": platform.python_version(), "chggen-kit": __version__}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:  # an import without installed metadata, e.g. from a source tree
            found[library] = "unknown"
    return found


def versions(config: GenerateConfig | InpaintConfig, parts: Parts, registry: Registry) -> dict[str, str]:
    """Versions of Python, of the libraries that results depend on, of the kit, and of the plug-ins' distributions."""
    found = library_versions()
    used = [("sampler", config.sampler)]
    if parts.model is not None:
        used.append(("score-model", config.backend))
    if parts.relaxer is not None:
        used += [("potential", config.potential), ("relaxer", config.relaxer)]
    if isinstance(config, GenerateConfig):
        used += [("sampler", config.unconditional_sampler), ("host-refiner", config.refiner)]
        used += [("sampler", config.anneal.sampler)] if parts.denoiser is not None else []
    for kind, choice in used:
        entry = registry.get(kind, choice.name)
        found[f"{kind} {entry.name}"] = str(entry.origin)
    return found
