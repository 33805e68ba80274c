"""Our sampler over the plug-in against the package's own, step by step, with the same random numbers."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from mattergen_toys import make_checkpoint
from torch import Tensor

from chggen_kit.draws import Draws
from chggen_kit.interfaces.processes import FieldDraws, Scope
from chggen_kit.interfaces.sampler import SamplingTask
from chggen_kit.samplers import loop
from chggen_kit.samplers.options import ResolvedOptions
from chggen_kit.state import CrystalBatch, Fields, Known
from chggen_mattergen.checkpoint import load_checkpoint
from chggen_mattergen.model import MatterGenScoreModel
from chggen_mattergen.options import MatterGenOptions
from chggen_mattergen.package import imports_allowed, load_package

pytestmark = pytest.mark.usefixtures("mattergen_installed")

SEED = 3


@pytest.fixture(scope="module")
def upstream() -> dict[str, Any]:
    """The package's sampler; of Lightning it needs a name in an annotation only."""
    load_package()
    lightning = ModuleType("mattergen.diffusion.lightning_module")
    lightning.DiffusionLightningModule = object  # type: ignore[attr-defined]
    sys.modules[lightning.__name__] = lightning
    try:
        with imports_allowed():
            modules = {
                name: importlib.import_module(f"mattergen.{name}")
                for name in (
                    "common.diffusion.predictors_correctors",
                    "diffusion.d3pm.d3pm_predictors_correctors",
                    "diffusion.sampling.classifier_free_guidance",
                    "diffusion.sampling.pc_sampler",
                    "diffusion.wrapped.wrapped_predictors_correctors",
                )
            }
    finally:
        del sys.modules[lightning.__name__]
    return {name.rpartition(".")[2]: module for name, module in modules.items()}


@contextmanager
def watched(module: Any) -> Iterator[list[dict[str, Tensor]]]:
    """What the network is given, call by call."""
    seen: list[dict[str, Tensor]] = []

    def note(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x, t = (*args, *kwargs.values())
        seen.append({name: x[name].clone() for name in ("pos", "cell", "atomic_numbers")} | {"t": t.clone()})

    handle = module.model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def templates(numbers: list[list[int]]) -> CrystalBatch:
    species = torch.tensor([z for crystal in numbers for z in crystal])
    return CrystalBatch(
        torch.zeros(len(species), 3, dtype=torch.float64),
        torch.eye(3, dtype=torch.float64).repeat(len(numbers), 1, 1) * 4,
        species,
        torch.tensor([len(crystal) for crystal in numbers]),
    )


def nothing_known(batch: CrystalBatch, *, species: bool) -> Known:
    atoms = torch.zeros(batch.n_atoms, dtype=torch.bool)
    return Known(atoms, atoms | species, torch.zeros(batch.n_crystals, dtype=torch.bool))


def options(steps: int) -> ResolvedOptions:
    return ResolvedOptions(
        steps=steps, corrector_steps=1, snr=0.4, passes=1, corrector="langevin-norm", corrector_first=True
    )


class Numbers:
    """Hands the package the numbers that our run draws, and keeps account of where its sampler is."""

    def __init__(self, task: SamplingTask) -> None:
        self.draws = Draws(SEED, task.ids, task.templates.num_atoms.tolist())
        self.number, self.field, self.purpose = 0, "", "prior"
        self.counts: Counter[tuple[str, str]] = Counter()

    def begin(self, field: str) -> None:
        self.number, self.field, self.purpose = 0, field, "prior"

    def enter(self, field: str, purpose: str) -> None:
        self.counts[(field, purpose)] += 1
        self.number, self.field, self.purpose = self.counts[(field, purpose)], field, purpose

    @property
    def moment(self) -> FieldDraws:
        scope: Scope = "crystal" if self.field == "lattice" else "atom"
        return self.draws.at(self.number, 1 if self.purpose == "corrector" else 0, self.field, scope)

    def normal(self, like: Tensor) -> Tensor:
        return self.moment.normal(self.purpose, like)

    def sample(self, categorical: Any) -> Tensor:
        return self.moment.categorical(self.purpose, categorical.probs)


def wrapped(function: Callable[..., Any], enter: Callable[[], None]) -> Callable[..., Any]:
    def call(**kwargs: Any) -> Any:
        enter()
        kept = torch.get_default_dtype()
        if "score" in kwargs and kwargs["score"].shape[-1] == 101:
            # The package's discrete part works in float32 only.
            kwargs["score"] = kwargs["score"].to(torch.float32)
            torch.set_default_dtype(torch.float32)
        try:
            return function(**kwargs)
        finally:
            torch.set_default_dtype(kept)

    return call


def run_upstream(
    upstream: dict[str, Any],
    module: Any,
    task: SamplingTask,
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
    guidance: tuple[float, dict[str, Any]] | None = None,
) -> Any:
    modules: Any = load_package()
    batch, numbers = task.templates, Numbers(task)
    d3pm = modules["mattergen.diffusion.d3pm.d3pm"]
    cell = upstream["predictors_correctors"]
    wrap = upstream["wrapped_predictors_correctors"]
    predictors: dict[str, Any] = {
        "pos": wrap.WrappedAncestralSamplingPredictor,
        "cell": cell.LatticeAncestralSamplingPredictor,
    }
    discrete = module.corruption.discrete_corruptions
    if discrete:
        # The package wants its schedule rewritten for other numbers of steps than 1000.
        schedule = d3pm.create_discrete_diffusion_schedule(kind="standard", num_steps=steps)
        monkeypatch.setattr(discrete["atomic_numbers"], "d3pm", d3pm.MaskDiffusion(dim=101, schedule=schedule))
        predictors["atomic_numbers"] = upstream["d3pm_predictors_correctors"].D3PMAncestralSamplingPredictor
    settings: dict[str, Any] = {
        "diffusion_module": module,
        "predictor_partials": predictors,
        "corrector_partials": {
            "pos": lambda **kw: wrap.WrappedLangevinCorrector(snr=0.4, max_step_size=1e6, **kw),
            "cell": lambda **kw: cell.LatticeLangevinDiffCorrector(snr=0.2, max_step_size=1e6, **kw),
        },
        "device": torch.device("cpu"),
        "n_steps_corrector": 1,
        "N": steps,
        "eps_t": 1 / steps,
    }
    chem_graph = modules["mattergen.common.data.chemgraph"].ChemGraph
    bounds = batch.offsets.tolist()
    graphs = [
        chem_graph(
            atomic_numbers=batch.species[low:high],
            pos=torch.zeros(high - low, 3),
            cell=torch.eye(3)[None],
            num_atoms=torch.tensor([high - low]),
        )
        for low, high in pairwise(bounds)
    ]
    conditions = modules["mattergen.common.data.collate"].collate(graphs)
    if guidance is None:
        sampler = upstream["pc_sampler"].PredictorCorrector(**settings)
    else:
        factor, properties = guidance
        embeddings = modules["mattergen.property_embeddings"]
        conditions = conditions.replace(**properties)
        sampler = upstream["classifier_free_guidance"].GuidedPredictorCorrector(
            guidance_scale=factor,
            remove_conditioning_fn=embeddings.SetUnconditionalEmbeddingType(),
            keep_conditioning_fn=embeddings.SetConditionalEmbeddingType(),
            **settings,
        )
    names = {"pos": "frac_coords", "cell": "lattice", "atomic_numbers": "species"}
    for key, corruption in module.corruption.corruptions.items():
        prior = wrapped(corruption.prior_sampling, partial(numbers.begin, names[key]))
        monkeypatch.setattr(corruption, "prior_sampling", prior)
    for key, predictor in sampler._predictors.items():
        enter = partial(numbers.enter, names[key], "predictor")
        monkeypatch.setattr(predictor, "update_given_score", wrapped(predictor.update_given_score, enter))
    for key, corrector in sampler._correctors.items():
        enter = partial(numbers.enter, names[key], "corrector")
        monkeypatch.setattr(corrector, "step_given_score", wrapped(corrector.step_given_score, enter))
    with monkeypatch.context() as patched:
        patched.setattr(torch, "randn", lambda *shape, **_: numbers.normal(torch.empty(shape)))
        patched.setattr(torch, "randn_like", lambda like, **_: numbers.normal(like))
        patched.setattr(torch.distributions.Categorical, "sample", _sampler_of(numbers))
        return sampler.sample(conditions)


def _sampler_of(numbers: Numbers) -> Callable[[Any], Tensor]:
    def sample(self: Any) -> Tensor:
        return numbers.sample(self)

    return sample


CASES = {
    "de novo": ("base", [[1] * 5, [1] * 3, [1] * 8], None),
    "structure prediction": ("csp", [[11, 17], [30, 15, 15, 16, 16, 16, 16, 16, 16]], None),
    "guided": ("chemical_system", [[1] * 6, [1] * 4], 2.0),
}


class Prepared:
    """One case: the model on our side, and what the package's sampler did with the same numbers."""

    def __init__(
        self,
        case: str,
        steps: int,
        folder: Path,
        upstream: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
        *,
        double: bool = False,
    ) -> None:
        kind, species, self.factor = CASES[case]
        checkpoint = load_checkpoint(make_checkpoint(folder, kind, calm=True))
        if double:
            torch.set_default_dtype(torch.float64)
            monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
            monkeypatch.setattr(torch, "float", torch.float64)
        self.module = checkpoint.module.to(torch.get_default_dtype())
        guided: dict[str, Any] = {}
        guidance = None
        if self.factor is not None:
            guided = {"chemical_system": "Zn-P-S", "guidance_factor": self.factor}
            guidance = (self.factor, {"chemical_system": ["P-S-Zn"] * len(species)})
        self.model = MatterGenScoreModel(checkpoint, MatterGenOptions(upstream_norms=True, **guided))
        batch = templates(species)
        self.task = SamplingTask(batch, nothing_known(batch, species=kind == "csp"))
        self.calls = 2 if self.factor else 1
        with watched(self.module) as seen:
            _, self.mean = run_upstream(upstream, self.module, self.task, steps, monkeypatch, guidance)
        assert len(seen) == 2 * steps * self.calls
        self.states = seen[:: self.calls]

    def fields(self, fields: Fields, state: Any) -> Fields:
        """The package's state as our fields."""
        species = state["atomic_numbers"]
        if self.model.processes["species"].moves:
            species = torch.nn.functional.one_hot(species - 1, 101).to(fields["species"].dtype)
        return fields.updated(frac_coords=state["pos"], lattice=state["cell"], species=species)

    def compare(self, ours: Any, theirs: Any, tolerance: float, where: str) -> None:
        offset = ours["pos"] - theirs["pos"]
        assert (offset - offset.round()).abs().max() < tolerance, f"positions {where}"
        assert (ours["cell"] - theirs["cell"]).abs().max() < tolerance * theirs["cell"].abs().max(), f"cells {where}"
        assert torch.equal(ours["atomic_numbers"], theirs["atomic_numbers"]), f"species {where}"


@pytest.mark.parametrize("case", CASES)
def test_every_step_is_that_of_the_package(
    case: str, tmp_path: Path, upstream: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32, each step from the package's own state: chaos has no time to act."""
    steps = 50 if case == "de novo" else 15
    prepared = Prepared(case, steps, tmp_path, upstream, monkeypatch)
    draws = Draws(SEED, prepared.task.ids, prepared.task.templates.num_atoms.tolist())
    run = loop._Run(prepared.model, prepared.task, options(steps), "noised", draws)

    def state() -> dict[str, Tensor]:
        species = run.state["species"]
        numbers = species.argmax(dim=-1) + 1 if species.ndim == 2 else species
        return {"pos": run.state["frac_coords"], "cell": run.state["lattice"], "atomic_numbers": numbers}

    run.start(0)
    prepared.compare(state(), prepared.states[0], 1e-5, "of the prior")
    following = [*prepared.states[1:], prepared.mean]
    assert len(following) == 2 * steps  # `compare` asserts each of them
    for number in range(steps):
        run.state = prepared.fields(run.state, prepared.states[2 * number])
        run.correct(number, number + 1)
        prepared.compare(state(), following[2 * number], 1e-4, f"after corrector {number}")
        run.state = prepared.fields(run.state, prepared.states[2 * number + 1])
        run.descend(number, number + 1, number + 1)
        prepared.compare(state(), following[2 * number + 1], 1e-4, f"after predictor {number}")


class DoubleModel(MatterGenScoreModel):
    """Fields in float64."""

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        fields = super().encode(batch, known)
        return fields.updated(**{name: x.double() for name, x in fields.items() if x.is_floating_point()})


@pytest.fixture
def default_dtype_kept() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("default_dtype_kept")
def test_whole_trajectory_is_that_of_the_package(
    case: str, tmp_path: Path, upstream: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, whose rounding errors random weights magnify a hundredfold at every level: over a few levels."""
    steps = 4
    prepared = Prepared(case, steps, tmp_path, upstream, monkeypatch, double=True)
    prepared.model.__class__ = DoubleModel
    with watched(prepared.module) as ours:
        result = loop.run_loop(prepared.model, prepared.task, options(steps), "noised", SEED, None)
    assert result.reasons == (None,) * prepared.task.templates.n_crystals
    assert len(ours) == 2 * steps * prepared.calls  # the same number of network calls
    for number, (a, b) in enumerate(zip(ours[:: prepared.calls], prepared.states, strict=True)):
        prepared.compare(a, b, 1e-5, f"at evaluation {number}")
        assert torch.allclose(a["t"], b["t"], atol=1e-6)
    # Given back in the axes of the template's cell, which are those of the symmetric cell here.
    crystals = result.crystals
    final = {"pos": crystals.frac_coords, "cell": crystals.lattice, "atomic_numbers": crystals.species}
    prepared.compare(final, prepared.mean, 1e-5, "at the end")
    if prepared.factor:
        assert set(crystals.species.tolist()) <= {15, 16, 30}
    # Not by standing still: species were revealed and cells moved.
    if prepared.model.processes["species"].moves:
        assert bool((ours[0]["atomic_numbers"] == 101).all())
    assert (ours[0]["cell"] - crystals.lattice).abs().max() > 0.01
