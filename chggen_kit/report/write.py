"""Writing a report: the page, and its figures as files beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress
from chggen_kit.metrics.environments import EnvironmentComparison, EnvironmentSet, EnvironmentSettings, compare
from chggen_kit.plugins import Registry
from chggen_kit.report.benchmark_tables import benchmark_content, is_benchmark
from chggen_kit.report.content import ReportContent
from chggen_kit.report.diagrams import diagrams_of
from chggen_kit.report.drawing import FigureSpec, Looks, write_files
from chggen_kit.report.environment_sets import Which, reference_structures
from chggen_kit.report.figure_distributions import cost_figure, distribution_figures
from chggen_kit.report.figure_environments import environment_figures
from chggen_kit.report.figure_phases import phase_figures
from chggen_kit.report.figure_rates import success_figures
from chggen_kit.report.page import render_page
from chggen_kit.report.run_tables import run_content
from chggen_kit.thermo.sources import AUTO
from chggen_kit.workflow.records import OK
from chggen_kit.workflow.rundir import write_atomically
from chggen_kit.workflow.targets import refuse_existing

PAGE = "report.html"
FIGURES = "figures"


@dataclass(frozen=True)
class WrittenReport:
    """Files of a report.

    Attributes:
        page: `report.html`.
        figures: PNG and SVG files.
        content: what they show.
    """

    page: Path
    figures: tuple[Path, ...]
    content: ReportContent


def load_content(folder: Path) -> ReportContent:
    """Content of the report of `folder`, a benchmark or a run, without what takes time (diagrams, environments).

    Raises:
        InputError: when it is neither, or has not ended.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Name the folder of a benchmark, or of a run.")
    if is_benchmark(folder):
        return benchmark_content(folder)
    if (folder / "run.json").is_file():
        return run_content(folder)
    raise InputError(
        f"{folder} holds neither a benchmark (benchmark.json) nor a run (run.json). Name the folder that was given as "
        "--out to `chggen benchmark`, `generate` or `inpaint`."
    )


def with_environments(
    content: ReportContent,
    reference: str,
    settings: EnvironmentSettings | None = None,
    *,
    which: Which = "relaxed",
    progress: Progress | None = None,
) -> ReportContent:
    """`content` with the local environments of each method's counted structures compared with those of `reference`.

    Args:
        content: of a report.
        reference: a path, or `packaged`.
        settings: of the comparison.
        which: structures as relaxed (as drawn where they are not), or as drawn.
        progress: told how many structures are measured.

    Raises:
        InputError: as `reference_structures` and `compare`, or when no structure came through.
    """
    generated: dict[str, list[Structure]] = {}
    frame = content.structures
    counted = (frame["outcome"] == OK) & frame["counted"].fillna(value=False)
    for method, wanted, crystal in zip(frame["method"], counted, content.crystals, strict=True):
        state = None if crystal is None else (crystal.drawn if which == "generated" else crystal.shown)
        if wanted and state is not None:
            generated.setdefault(str(method), []).append(state.structure())
    if not generated:
        raise InputError(f"No structure of {content.source} came through, so there are no environments to compare.")
    references, name = reference_structures(reference, [one for group in generated.values() for one in group])
    theirs = EnvironmentSet.of(references, settings, progress)
    comparisons = {
        method: compare(EnvironmentSet.of(group, settings, progress), theirs) for method, group in generated.items()
    }
    return replace(content, environments=comparisons, reference_name=name)


def figures_of(content: ReportContent) -> dict[str, list[FigureSpec]]:
    """All figures that there is something for, by section of the page."""
    looks = Looks([*content.structures["method"].dropna(), *content.rates["method"].dropna()])
    cost = cost_figure(content.cells, content.cost_unit, looks)
    environments = environment_figures(content.environments, looks) if content.environments else []
    sections = {
        "success": success_figures(content.rates, looks),
        "distributions": distribution_figures(content.structures, looks),
        "phases": phase_figures(content.diagrams),
        "environments": environments,
        "cost": [] if cost is None else [cost],
    }
    return {name: group for name, group in sections.items() if group}


def draw_environments(comparison: EnvironmentComparison, out: Path) -> list[Path]:
    """Write the figures of a comparison into the folder `out`; none may be there already.

    Raises:
        InputError: when one is.
    """
    figures = environment_figures({"generated": comparison}, Looks(["generated"]))
    refuse_existing(out / f"{spec.name}{suffix}" for spec in figures for suffix in (".svg", ".png"))
    return [path for spec in figures for path in write_files(spec, out)]


def write_report(
    folder: Path,
    *,
    out: Path | None = None,
    registry: Registry | None = None,
    references: str = AUTO,
    reference: str | None = None,
    settings: EnvironmentSettings | None = None,
    which: Which = "relaxed",
    progress: Progress | None = None,
) -> WrittenReport:
    """Write the report of `folder`, a benchmark or a run: it can always be made again, so an older one is replaced.

    Args:
        folder: of the benchmark or run.
        out: where `report.html` and `figures/` go; `folder` itself by default.
        registry: makes the potential whose references the phase diagrams need; without it there are none.
        references: what the E_d were measured from (as of `chggen hull`), for phase diagrams.
        reference: compare local environments with these structures (a path, or `packaged`).
        settings: of that comparison.
        which: structures that it compares: as relaxed, or as drawn.
        progress: told how many structures are compared.

    Raises:
        InputError: as `load_content` and `with_environments`.
    """
    content = load_content(folder)
    if registry is not None:
        diagrams, notes = diagrams_of(content.runs, registry, references)
        content = replace(content, diagrams=diagrams, notes=[*content.notes, *notes])
    if reference is not None:
        content = with_environments(content, reference, settings, which=which, progress=progress)
    figures = figures_of(content)
    target = out or folder
    target.mkdir(parents=True, exist_ok=True)
    written = [path for group in figures.values() for spec in group for path in write_files(spec, target / FIGURES)]
    write_atomically(target / PAGE, render_page(content, figures))
    return WrittenReport(target / PAGE, tuple(written), content)
