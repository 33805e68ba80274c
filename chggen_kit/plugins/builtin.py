"""The core's own plug-ins, registered as anybody's are. Import strings only: this module is loaded by every command."""

from __future__ import annotations

from chggen_kit import hookimpl
from chggen_kit.plugins.hookspecs import Register

_SAMPLER_OPTIONS = "chggen_kit.samplers.options:SamplerOptions"


@hookimpl
def chggen_kit_register_samplers(register: Register) -> None:
    """Register the samplers that run over any score model, and the baselines without one."""
    register(
        "predictor-corrector",
        "chggen_kit.samplers.predictor_corrector:build",
        options=_SAMPLER_OPTIONS,
        summary="Ancestral predictor and Langevin corrector; nothing known",
    )
    register(
        "repaint",
        "chggen_kit.samplers.inpaint:build_repaint",
        options=_SAMPLER_OPTIONS,
        summary="Inpainting with a noised host and resampling (RePaint)",
    )
    register(
        "replace",
        "chggen_kit.samplers.inpaint:build_replace",
        options=_SAMPLER_OPTIONS,
        summary="Inpainting with a noised host, one pass",
    )
    register(
        "clean-host",
        "chggen_kit.samplers.inpaint:build_clean_host",
        options=_SAMPLER_OPTIONS,
        summary="Inpainting with the host clean at every level",
    )
    register(
        "random",
        "chggen_kit.samplers.random_placement:build",
        options="chggen_kit.samplers.random_placement:RandomOptions",
        summary="Baseline: random positions at a minimum distance, no model",
    )
    register(
        "voronoi",
        "chggen_kit.samplers.voronoi:build",
        options="chggen_kit.samplers.voronoi:VoronoiOptions",
        summary="Baseline: voids between the atoms that are there, larger ones more often, no model",
    )
    register(
        "random-symmetric",
        "chggen_kit.samplers.random_symmetric:build",
        options="chggen_kit.samplers.random_symmetric:RandomSymmetricOptions",
        summary="Baseline: whole crystals of random space groups, atoms on Wyckoff positions, no model",
    )


@hookimpl
def chggen_kit_register_host_refiners(register: Register) -> None:
    """Register the paper's tolerance ladder, and the projection that needs no tolerances."""
    register(
        "ladder",
        "chggen_kit.refiners.ladder:build",
        options="chggen_kit.refiners.ladder:LadderOptions",
        summary="First space group along a ladder of growing tolerances",
    )
    register(
        "projection",
        "chggen_kit.refiners.projection:build",
        options="chggen_kit.symmetry.options:ProjectionOptions",
        summary="Nearest symmetric structures, where that is more than chance",
    )


@hookimpl
def chggen_kit_register_relaxers(register: Register) -> None:
    """Register the batched relaxer and its reference."""
    register(
        "fire",
        "chggen_kit.relaxers.fire:build",
        options="chggen_kit.relaxers.options:FireOptions",
        summary="FIRE on positions and cell, many structures at once",
    )
    register(
        "ase-fire",
        "chggen_kit.relaxers.ase_reference:build",
        options="chggen_kit.relaxers.options:AseFireOptions",
        summary="ASE's FIRE with its Frechet cell filter, one structure at a time (reference)",
    )
    register(
        "torch-sim",
        "chggen_kit.relaxers.torch_sim_adapter:build",
        options="chggen_kit.relaxers.options:TorchSimOptions",
        summary="FIRE of the package torch-sim, many structures at once; nothing can be kept fixed",
        requires=("torch-sim-atomistic>=0.3",),
    )


@hookimpl
def chggen_kit_register_executors(register: Register) -> None:
    """Register where campaigns can run."""
    register(
        "local",
        "chggen_kit.execution.local:build",
        options="chggen_kit.execution.local:LocalOptions",
        summary="Worker processes on this machine, one per core or device",
    )
    register(
        "parsl",
        "chggen_kit.execution.parsl_executor:build",
        options="chggen_kit.execution.parsl_options:ParslOptions",
        summary="Parsl: this machine, Slurm, PBS, LSF or Kubernetes",
        requires=("parsl>=2024.6",),
    )
