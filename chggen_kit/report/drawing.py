"""How figures are drawn: two themes, the same bytes every time, as SVG for the page and as files beside it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chggen_kit.workflow.rundir import publish

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
# Colours of Okabe and Ito (2008), which the colour-blind tell apart; blue and orange first, as in the paper's Fig. 6.
_CYCLE = {
    "light": ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A8A8A", "#B8A800"),
    "dark": ("#56B4E9", "#E69F00", "#2FBF96", "#DD8FBB", "#8FB4FF", "#F07B3F", "#A6A6A6", "#F0E442"),
}
_INK = {"light": "#1b1f24", "dark": "#e6e8eb"}
_PAPER = {"light": "#ffffff", "dark": "#1a1f26"}
_GRID = {"light": "#d9dde2", "dark": "#39414b"}
LABEL = 32
"""Characters of a name in a figure; the tables have all of it."""
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")


@dataclass(frozen=True)
class FigureSpec:
    """A figure that can be drawn.

    Attributes:
        name: of its files.
        title: above it.
        alt: what it shows, in words, for those who do not see it.
        caption: below it.
        draw: draws it into an empty matplotlib figure.
        size: width and height in inches.
    """

    name: str
    title: str
    alt: str
    caption: str
    draw: Callable[[Any], None]
    size: tuple[float, float] = (7.0, 3.8)


@contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """Colours of `theme` for all figures that are made and written within."""
    import matplotlib as mpl
    from cycler import cycler

    ink, paper = _INK[theme], _PAPER[theme]
    settings: dict[str, Any] = {
        "axes.prop_cycle": cycler(color=_CYCLE[theme]),
        "figure.facecolor": paper,
        "savefig.facecolor": paper,
        "axes.facecolor": paper,
        "legend.facecolor": paper,
        "legend.edgecolor": _GRID[theme],
        "legend.frameon": False,
        "axes.edgecolor": ink,
        "axes.labelcolor": ink,
        "text.color": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "grid.color": _GRID[theme],
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 10.0,
        "hatch.linewidth": 0.6,
        # Random identifiers and the date would make every file another one.
        "svg.hashsalt": "chggen-kit",
    }
    with mpl.rc_context(settings):
        yield


def ink() -> str:
    """Colour of text and lines in the theme in force."""
    import matplotlib as mpl

    return str(mpl.rcParams["text.color"])


class Looks:
    """Colours and hatches of methods, the same in every figure of a report.

    Args:
        methods: in the order in which they take colours; others come after them.
    """

    def __init__(self, methods: Iterable[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(dict.fromkeys(methods))}

    def _number(self, method: str) -> int:
        return self._numbers.setdefault(method, len(self._numbers))

    def colour(self, method: str) -> str:
        """Colour of `method` in the theme in force."""
        return colour(self._number(method))

    def bar(self, method: str) -> dict[str, Any]:
        """Look of a bar of `method`: a hatch tells it from others where colours do not."""
        hatch = HATCHES[self._number(method) % len(HATCHES)]
        return {"facecolor": self.colour(method), "hatch": hatch, "edgecolor": ink(), "linewidth": 0.5}


def add_legend(figure: Any, handles: Sequence[Any]) -> None:  # noqa: ANN401  matplotlib's
    """A legend above the axes, in as many columns as the figure is wide for."""
    longest = max(len(one.get_label()) for one in handles)
    columns = int(figure.get_figwidth() * 72 // (5.2 * longest + 40))
    figure.legend(handles=handles, loc="outside upper center", ncols=max(1, min(len(handles), columns, 4)), fontsize=9)


def colour(number: int) -> str:
    """Colour of series `number`."""
    import matplotlib as mpl

    cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    return str(cycle[number % len(cycle)])


def plain(text: object) -> str:
    """A name for a label: short enough for its place, and no formula of matplotlib's."""
    words = " ".join(str(text).split())
    return (words if len(words) <= LABEL else f"{words[: LABEL - 1]}…").replace("$", r"\$")


def render(spec: FigureSpec, theme: Theme, form: Literal["svg", "png"] = "svg") -> bytes:
    """The figure as a file's bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stream = io.BytesIO()
    with themed(theme):
        # No pyplot: it keeps global state and looks for a display.
        figure = Figure(figsize=spec.size, layout="constrained")
        FigureCanvasAgg(figure)
        spec.draw(figure)
        figure.savefig(stream, format=form, dpi=160, metadata={"Date": None} if form == "svg" else {"Software": None})
    return stream.getvalue()


def write_files(spec: FigureSpec, folder: Path) -> list[Path]:
    """Write the figure as `NAME.svg` and `NAME.png`, in the light theme."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    forms: tuple[Literal["svg", "png"], ...] = ("svg", "png")
    for form in forms:
        target = folder / f"{spec.name}.{form}"
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.write_bytes(render(spec, "light", form))
        publish(temporary, target)
        written.append(target)
    return written
