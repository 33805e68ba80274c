"""The one sampling loop: prior, descents, jumps back, correctors, and the imposition of what is known.

It serves every score model and every policy; all that depends on a noise level is asked of the noise processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from chggen_kit.draws import Draws
from chggen_kit.errors import InputError
from chggen_kit.interfaces.processes import FieldDraws, NoiseProcess, Step
from chggen_kit.interfaces.sampler import Progress, SampleResult, SamplingTask
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.samplers.options import ResolvedOptions
from chggen_kit.samplers.schedule import repaint_schedule
from chggen_kit.samplers.start import levels_of_noise
from chggen_kit.state import FIELD_NAMES, CrystalBatch, Fields, Known
from chggen_kit.symmetry.batch import BatchSymmetry, SymmetricDraws, check_symmetry

HostPolicy = Literal["noised", "clean"]
_START = 0
"""Step number of the draws that make the starting state; the moves of the schedule count from 1."""


@dataclass
class _Run:
    """One batch on its way from the prior to the clean level."""

    model: ScoreModel
    task: SamplingTask
    options: ResolvedOptions
    host: HostPolicy
    draws: Draws

    def __post_init__(self) -> None:
        batch, known = self.task.templates, self.task.known
        self.clean: Fields = self.model.encode(batch, known)
        self.processes: Mapping[str, NoiseProcess] = self.model.processes
        self.times = tuple(self.model.times(self.options.steps))
        device = self.clean["frac_coords"].device
        masks: dict[str, Tensor] = {name: getattr(known, name).to(device) for name in FIELD_NAMES}
        self.moving = [name for name, process in self.processes.items() if process.moves]
        self.known = {name: masks[name] for name in self.moving}
        self.symmetry = self._symmetry(known)
        for name, process in self.processes.items():
            if not process.moves and not bool(masks[name].all()):
                raise InputError(
                    f"The mask leaves {name!r} to be generated, but this score model keeps that field fixed. "
                    f"It generates: {', '.join(self.moving)}."
                )
        self.reasons: dict[int, str] = {}
        self.alive = torch.ones(batch.n_crystals, dtype=torch.bool, device=device)
        self.state = self.clean
        self.calls = 0
        self.trajectory: list[tuple[int, CrystalBatch]] = []

    def _symmetry(self, known: Known) -> BatchSymmetry | None:
        """Subspace that the samples stay in, where the task asks for one."""
        if self.task.symmetry is None:
            return None
        check_symmetry(self.task.symmetry, self.task.templates, known)
        symmetry = BatchSymmetry(self.task.symmetry, self.clean)
        for name in self.moving:
            if not bool(self.known[name].all()) and self.processes[name].project(self.clean[name], symmetry) is None:
                raise InputError(
                    f"This score model cannot generate {name!r} within a given symmetry. Give it: a fixed "
                    f"{name} (for cells: --lattice search) is noised as the model expects, and kept."
                )
        return symmetry

    # -- pieces of the loop ------------------------------------------------------------------------------------------

    def step(self, level: int, target: int) -> Step:
        return Step(self.times, level, target, self.state)

    def draw(self, number: int, pass_: int, name: str) -> FieldDraws:
        """Random numbers of one field at one moment."""
        process = self.processes[name]
        draws = self.draws.at(number, pass_, name, process.scope)
        return draws if self.symmetry is None else SymmetricDraws(draws, process, self.symmetry)

    def predict(self, level: int) -> Fields:
        t = torch.full(
            (self.clean.context.n_crystals,),
            self.times[level],
            dtype=self.clean["lattice"].dtype,
            device=self.alive.device,
        )
        self.calls += 1
        with torch.no_grad():
            prediction = self.model.predict(self.state, t)
        if self.symmetry is None:
            return prediction
        projected = {name: self.processes[name].project(prediction[name], self.symmetry) for name in prediction}
        return prediction.updated(**{name: value for name, value in projected.items() if value is not None})

    def update(self, new: Mapping[str, Tensor]) -> None:
        """Take over `new` fields, but keep the last state of a crystal in which anything is not finite, or not sane."""
        index = self.clean.context.crystal_index
        kept_rows = torch.ones_like(self.alive)
        for name, tensor in new.items():
            process = self.processes[name]
            finite = torch.isfinite(tensor.reshape(tensor.shape[0], -1)).all(dim=1)
            for bad, reason in ((~finite, "non-finite"), (finite & ~process.is_sane(tensor), "exploded")):
                # The usual case costs no more than this.
                if not bool(bad.any()):
                    continue
                crystals = index[bad] if process.scope == "atom" else bad.nonzero()[:, 0]
                kept_rows[crystals] = False
                for crystal in set(crystals.tolist()):
                    self.reasons.setdefault(crystal, reason)
        self.alive = self.alive & kept_rows
        if bool(self.alive.all()):
            self.state = self.state.updated(**new)
            return
        kept = {}
        for name, tensor in new.items():
            rows = self.alive[index] if self.processes[name].scope == "atom" else self.alive
            kept[name] = torch.where(rows.reshape(-1, *(1,) * (tensor.ndim - 1)), tensor, self.state[name])
        self.state = self.state.updated(**kept)

    def impose_known(self, level: int, number: int, pass_: int) -> None:
        """Replace known rows by their clean values noised to `level` (or clean ones), after alignment."""
        imposed = {}
        for name in self.moving:
            mask = self.known[name]
            if not bool(mask.any()):
                continue
            process, x0 = self.processes[name], self.clean[name]
            step = self.step(level, level)
            y = x0 if self.host == "clean" else process.forward_marginal(x0, step, self.draw(number, pass_, name))
            x = self.state[name]
            if self.options.align == "mean":
                x = self._align(process, x, y, mask, step)
            imposed[name] = torch.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), y, x)
        if imposed:
            self.update(imposed)

    def _align(self, process: NoiseProcess, x: Tensor, y: Tensor, mask: Tensor, step: Step) -> Tensor:
        """Slide `x` towards `y`, along the directions that a symmetry in force leaves free."""
        moved = process.align(x, y, mask, step)
        if self.symmetry is None or process.metric == "plain":
            return moved
        slide = moved - x
        # All atoms of a crystal slide alike: one of them says by which image, also at half a cell.
        index = self.clean.context.crystal_index
        first = torch.searchsorted(index, torch.arange(self.clean.context.n_crystals, device=index.device))
        whole = torch.round(slide - slide[first][index]) + torch.round(slide[first])[index]
        return process.wrap(x + self.symmetry.slide(slide - whole))

    def start(self, level: int) -> None:
        step = self.step(level, level)
        begun = {}
        for name in self.moving:
            process, x0 = self.processes[name], self.clean[name]
            draws = self.draw(_START, 0, name)
            if self.task.start_level is None:
                if self.symmetry is not None and name == "frac_coords":
                    begun[name] = self.symmetry.uniform_positions(x0, draws)
                else:
                    begun[name] = process.prior(step, x0, draws)
            else:
                begun[name] = process.forward_marginal(x0, step, draws)
        self.update(begun)
        self.impose_known(level, _START, 1)

    def descend(self, level: int, target: int, number: int) -> None:
        prediction = self.predict(level)
        step = self.step(level, target)
        self.update(
            {
                name: self.processes[name].reverse_step(
                    self.state[name], prediction[name], step, self.draw(number, 0, name)
                )
                for name in self.moving
            }
        )
        self.impose_known(target, number, 0)

    def correct(self, level: int, number: int) -> None:
        """The M corrector calls at `level`; never at the clean level."""
        for call in range(1, self.options.corrector_steps + 1):
            prediction = self.predict(level)
            step = self.step(level, level)
            corrected = {}
            for name in self.moving:
                process = self.processes[name]
                mask = self.known[name]
                rows = torch.ones_like(mask) if self.options.corrector_moves == "all" else ~mask
                moved = process.correct(
                    self.state[name], prediction[name], step, rows, self.draw(number, call, name), self.options.kernel
                )
                if moved is not None:
                    corrected[name] = moved
            if not corrected:
                return
            self.update(corrected)
            self.impose_known(level, number, call)

    def ascend(self, level: int, target: int, number: int) -> None:
        step = self.step(level, target)
        self.update(
            {
                name: self.processes[name].renoise(
                    self.state[name],
                    step,
                    self.draw(number, 0, name),
                    self.options.kernel,
                )
                for name in self.moving
            }
        )
        self.impose_known(target, number, 0)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self, progress: Progress | None) -> SampleResult:
        clean_level = len(self.times) - 1
        first = self.task.start_level or 0
        jump, passes = self.options.jump_length, self.options.passes
        if first:
            # Few steps are left near the clean end: shorter jumps, and none where there is no room for any.
            jump = min(jump, clean_level - first - 1)
            passes = passes if jump else 1
        schedule = repaint_schedule(len(self.times), max(jump, 1), passes, first)
        self.start(first)
        for number, (level, target) in enumerate(schedule, start=1):
            if target > level:
                if self.options.corrector_first:
                    self.correct(level, number)
                self.descend(level, target, number)
                if not self.options.corrector_first and target != clean_level:
                    self.correct(target, number)
            else:
                self.ascend(level, target, number)
            every = self.options.trajectory_every
            if every and (number % every == 0 or target == clean_level):
                self.trajectory.append((target, self.model.decode(self.state)))
            if progress is not None:
                progress.update(number, len(schedule))
        if self.symmetry is not None and "frac_coords" in self.moving:
            self.state = self.state.updated(frac_coords=self.symmetry.restore(self.state["frac_coords"]))
        return SampleResult(
            crystals=restore_known(self.model.decode(self.state), self.task),
            reasons=tuple(self.reasons.get(crystal) for crystal in range(self.task.templates.n_crystals)),
            network_calls=self.calls,
            trajectory=tuple(self.trajectory),
        )


def restore_known(crystals: CrystalBatch, task: SamplingTask) -> CrystalBatch:
    """`crystals` with the known entries of the templates put back, bit for bit."""
    template, known = task.templates, task.known
    return CrystalBatch(
        torch.where(known.frac_coords[:, None], template.frac_coords, crystals.frac_coords),
        torch.where(known.lattice[:, None, None], template.lattice, crystals.lattice),
        torch.where(known.species, template.species, crystals.species),
        template.num_atoms,
    )


def run_loop(
    model: ScoreModel,
    task: SamplingTask,
    options: ResolvedOptions,
    host: HostPolicy,
    seed: int,
    progress: Progress | None,
) -> SampleResult:
    """Draw one crystal for each template of `task`.

    Raises:
        InputError: when the model cannot serve the masks or the alignment that was asked for.
    """
    if options.align == "mean" and not model.capabilities.translation_invariant:
        raise InputError(
            "Alignment (align=mean) slides crystals along the cell, which is only right for a translation-invariant "
            "score model; this one is not. Use align=none."
        )
    if task.symmetry is not None:
        # The other corrector's step follows from a norm over all 3 n components, of which a symmetry frees a few.
        options = replace(options, corrector="fixed")
    groups = _by_start(model, task, options)
    results = []
    for number, (level, crystals) in enumerate(groups):
        part = replace(task.select(crystals), start_level=level, start_sigma_A=None, start_fraction=None)
        draws = Draws(seed, part.ids, part.templates.num_atoms.tolist())
        advance = None if progress is None else _Part(progress, number, len(groups))
        results.append(_Run(model, part, options, host, draws).run(advance))
    return results[0] if len(results) == 1 else _merged(results, [crystals for _, crystals in groups])


def _by_start(model: ScoreModel, task: SamplingTask, options: ResolvedOptions) -> list[tuple[int | None, list[int]]]:
    """Crystals that start at the same level, which depends on each one's own cell and on nothing else of the batch."""
    everything = list(range(task.templates.n_crystals))
    if task.start_fraction is not None:
        steps = len(model.times(options.steps)) - 1
        return [(min(round((1 - task.start_fraction) * steps), steps - 1), everything)]
    if task.start_sigma_A is None:
        return [(task.start_level, everything)]
    clean, times = model.encode(task.templates, task.known), tuple(model.times(options.steps))
    levels = levels_of_noise(model.processes["frac_coords"], times, clean, task.start_sigma_A)
    return [(level, [i for i in everything if levels[i] == level]) for level in sorted(set(levels))]


@dataclass(frozen=True)
class _Part:
    """Progress of one of several groups."""

    progress: Progress
    number: int
    of: int

    def update(self, done: int, total: int, message: str = "") -> None:
        self.progress.update(self.number * total + done, self.of * total, message)


def _merged(results: Sequence[SampleResult], crystals: Sequence[Sequence[int]]) -> SampleResult:
    """Results of groups of `crystals` as one, in the order of the task; trajectories differ in length and are left."""
    order = [index for group in crystals for index in group]
    back = sorted(range(len(order)), key=order.__getitem__)
    reasons = [reason for result in results for reason in result.reasons]
    return SampleResult(
        crystals=CrystalBatch.concatenate([result.crystals for result in results]).select(back),
        reasons=tuple(reasons[index] for index in back),
        network_calls=sum(result.network_calls for result in results),
    )
