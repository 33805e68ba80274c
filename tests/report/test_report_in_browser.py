"""The page in a real browser: tables, viewer, downloads, keyboard, small screens, themes, hostile names."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import launched
from PIL import Image
from pymatgen.io.cif import CifParser
from report_samples import COPIES, FORMULA_LIKE, HOSTILE, METHODS, left_handed, make_benchmark, many_structures

from chggen_kit.report.page import render_page
from chggen_kit.report.write import write_report

ROWS = 4 * COPIES
ASSETS = Path(__file__).parents[2] / "chggen_kit" / "report" / "assets"


@dataclass
class Visit:
    """A page with what went wrong in it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def rows(self) -> Any:
        return self.page.locator("[data-table=structures] tbody tr")

    def column(self, key: str) -> list[str]:
        heads = self.page.locator("[data-table=structures] thead th")
        keys = [heads.nth(i).get_attribute("data-key") for i in range(heads.count())]
        cells = self.page.locator(f"[data-table=structures] tbody tr > *:nth-child({keys.index(key) + 1})")
        return [str(one) for one in cells.all_inner_texts()]

    def head(self, key: str) -> Any:
        return self.page.locator(f"[data-table=structures] th[data-key='{key}']")

    def status(self) -> str:
        return str(self.page.locator("[data-table=structures] .status").inner_text())

    def canvas(self) -> np.ndarray[Any, Any]:
        self.page.wait_for_timeout(150)
        shot = self.page.locator("#viewer-canvas").screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)[4:-4, 4:-4]

    def saved(self, button: Any) -> str:
        with self.page.expect_download() as waiting:
            button.click()
        return Path(waiting.value.path()).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_benchmark(tmp_path_factory.mktemp("reports") / "a 'b' & \"c\" <d>")
    return write_report(folder).page


@pytest.fixture
def visit(browser: Any, page_file: Path) -> Iterator[Visit]:
    yield from _visits(browser, page_file)


def _visits(browser: Any, page_file: Path, **settings: Any) -> Iterator[Visit]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "color_scheme": "light", **settings})
    found = Visit(context.new_page())
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    found.page.on("console", lambda message: found.errors.append(message.text) if message.type == "error" else None)
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(page_file.as_uri())
    yield found
    assert found.errors == []
    assert found.requests
    assert [url for url in found.requests if not re.match(r"(file|data|blob):", url)] == []
    assert found.page.evaluate("window.hacked") is None
    context.close()


def test_the_table_is_sorted_by_any_column_with_what_is_missing_last(visit: Visit) -> None:
    assert visit.head("E_d").get_attribute("aria-sort") == "ascending"
    button = visit.head("E_d").locator("button")
    first = [float(one) for one in visit.column("E_d")]
    assert first == sorted(first)
    button.click()
    assert visit.head("E_d").get_attribute("aria-sort") == "descending"
    again = [float(one) for one in visit.column("E_d")]
    assert again == sorted(again, reverse=True)
    assert again[0] > max(first)
    visit.page.locator("[data-table=structures] .pager select").select_option("100")
    assert visit.column("E_d")[-4:] == ["–"] * 4
    visit.head("structure").locator("button").click()
    assert visit.head("E_d").get_attribute("aria-sort") == "none"
    assert visit.column("structure") == sorted(visit.column("structure"))


def test_filters_narrow_the_rows_and_are_reset(visit: Visit) -> None:
    assert visit.status() == f"{ROWS} of {ROWS} rows"
    assert visit.rows().count() == 25
    visit.page.locator("select[data-filter=method]").first.select_option(label=METHODS[0])
    assert visit.status() == f"{ROWS // 2} of {ROWS} rows"
    assert set(visit.column("method")) == {METHODS[0]}
    visit.page.locator("[data-filter=symmetric]").check()
    assert set(visit.column("symmetric")) == {"yes"}
    visit.page.locator("[data-filter=E_d]").fill("0.01")
    assert max(float(one) for one in visit.column("E_d")) <= 0.01
    visit.page.locator("#structures input[type=search]").fill("nothing has this")
    assert visit.rows().count() == 0
    visit.page.get_by_role("button", name="Reset filters").first.click()
    assert visit.status() == f"{ROWS} of {ROWS} rows"
    visit.page.locator("#structures input[type=search]").fill("I0003")
    assert visit.status() == f"4 of {ROWS} rows"


def test_pages_turn(visit: Visit) -> None:
    pager = visit.page.locator("[data-table=structures] .pager")
    assert "Page 1 of 4" in pager.inner_text()
    assert pager.get_by_role("button", name="Previous").is_disabled()
    before = visit.column("structure")
    pager.get_by_role("button", name="Next").click()
    assert "Page 2 of 4" in pager.inner_text()
    assert visit.column("structure") != before


def test_choosing_a_structure_draws_it(visit: Visit) -> None:
    assert not visit.page.locator("#viewer").is_visible()
    visit.rows().nth(1).locator("button").click()
    drawn = visit.canvas()
    paper = drawn[2, 2]
    inked = (np.abs(drawn - paper).sum(axis=2) > 60).mean()
    assert 0.01 < inked < 0.9
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 100
    assert "Cl (guest)" in visit.page.locator("#viewer-legend").inner_text()
    assert "guests Cl" in str(visit.page.locator("#viewer-canvas").get_attribute("aria-label"))
    assert visit.rows().nth(1).locator("button").get_attribute("aria-pressed") == "true"
    visit.page.locator("#viewer-colours").select_option("roles")
    assert (np.abs(visit.canvas() - drawn).sum(axis=2) > 60).mean() > 0.003
    visit.page.locator("#viewer-cells").select_option("2")
    assert (np.abs(visit.canvas() - drawn).sum(axis=2) > 60).mean() > 0.02
    visit.rows().nth(2).locator("button").click()
    assert visit.page.locator("tr.chosen").count() == 1


def test_a_structure_that_failed_is_shown_as_drawn(visit: Visit) -> None:
    visit.page.locator("select[data-filter=outcome]").select_option(label="exploded")
    visit.rows().first.locator("button").click()
    assert visit.page.locator("#viewer-state option").all_inner_texts() == ["as drawn"]
    assert (np.abs(visit.canvas() - visit.canvas()[2, 2]).sum(axis=2) > 60).mean() > 0.01


def test_everything_is_reached_by_keyboard(visit: Visit) -> None:
    page = visit.page
    visit.head("n_atoms").locator("button").focus()
    page.keyboard.press("Enter")
    assert visit.head("n_atoms").get_attribute("aria-sort") == "ascending"
    visit.rows().first.locator("button").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert visit.rows().nth(1).get_attribute("class") == "chosen"
    assert page.locator("[data-table=structures] tbody button[tabindex='0']").count() == 1
    before = visit.canvas()
    page.locator("#viewer-canvas").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert (np.abs(visit.canvas() - before).sum(axis=2) > 60).mean() > 0.005
    # Tab from the top reaches the first control, past the link that skips.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") in {"SELECT", "BUTTON", "A", "SUMMARY"}


def test_downloads_hold_what_is_shown(visit: Visit) -> None:
    visit.page.locator("#structures input[type=search]").fill("i0000")
    pager = visit.page.locator("[data-table=structures] .pager")
    rows = list(csv.DictReader(io.StringIO(visit.saved(pager.get_by_role("button", name="CSV")))))
    assert len(rows) == 4
    assert {row["system"] for row in rows} == {HOSTILE, "NaCl"}
    # A spreadsheet would run a text that begins like a formula.
    assert {row["method"] for row in rows} == {f"'{FORMULA_LIKE}", METHODS[1]}
    texts = visit.saved(pager.get_by_role("button", name="CIF"))
    assert texts.count("data_") == 4
    visit.rows().first.locator("button").click()
    text = visit.saved(visit.page.locator("#viewer-cif"))
    found = CifParser.from_str(text).parse_structures(primitive=False)[0]
    expected = left_handed()
    assert [site.specie.symbol for site in found] == ["Na", "Cl", "Cl"]
    assert found.lattice.abc == pytest.approx(expected.lattice.abc, abs=1e-5)
    # Handedness is kept: the triple product of vectors between atoms has the sign of the original.
    assert _chirality(found) == pytest.approx(_chirality(expected), abs=1e-3)


def _chirality(structure: Any) -> float:
    """Signed volume that is the same in any setting of the cell: of two bonds and the cell's own first axis."""
    cart = structure.lattice.get_cartesian_coords(structure.frac_coords - structure.frac_coords[0])
    images = [structure.lattice.get_distance_and_image(structure.frac_coords[0], f)[1] for f in structure.frac_coords]
    first, second = (cart[i] + images[i] @ structure.lattice.matrix for i in (1, 2))
    axis = structure.lattice.matrix[2] * np.sign(np.linalg.det(structure.lattice.matrix))
    return float(np.dot(np.cross(first, second), axis))


def test_folded_tables_are_built_when_they_are_opened(visit: Visit) -> None:
    folded = visit.page.locator("details:has([data-table=rates])")
    assert folded.locator("table").count() == 0
    folded.locator("summary").click()
    folded.locator("tbody tr").first.wait_for()
    assert folded.locator("tbody tr").count() == 25
    visit.page.locator("details:has([data-table=cells]) summary").click()
    visit.page.locator("[data-table=cells] tbody tr").first.wait_for()
    assert "no <checkpoint> is given" in visit.page.locator("[data-table=cells]").inner_text()


@pytest.mark.parametrize("width", [360, 768])
def test_a_phone_scrolls_down_only(browser: Any, page_file: Path, width: int) -> None:
    for visit in _visits(browser, page_file, viewport={"width": width, "height": 740}, has_touch=True):
        visit.page.locator("details").first.locator("summary").click()
        visit.rows().first.locator("button").click()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.page.locator("#viewer-canvas").bounding_box()["width"] <= width
        assert visit.page.locator("#viewer-canvas").bounding_box()["y"] < 740


def test_the_theme_follows_the_system_and_the_switch(browser: Any, page_file: Path) -> None:
    for visit in _visits(browser, page_file, color_scheme="dark"):
        colour = "getComputedStyle(document.body).backgroundColor"
        assert _luminance(visit.page.evaluate(colour)) < 0.05
        assert not visit.page.locator("img.for-light").first.is_visible()
        assert visit.page.locator("img.for-dark").first.is_visible()
        visit.rows().first.locator("button").click()
        assert visit.canvas()[2, 2].mean() < 60
        switch = visit.page.locator("#theme")
        assert switch.get_attribute("aria-pressed") == "true"
        switch.click()
        assert _luminance(visit.page.evaluate(colour)) > 0.9
        assert visit.page.locator("img.for-light").first.is_visible()
        assert visit.canvas()[2, 2].mean() > 200
        visit.page.reload()
        assert _luminance(visit.page.evaluate(colour)) > 0.9


def _luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)` or `#rrggbb` (WCAG 2.1)."""
    numbers = (
        [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        if colour.startswith("#")
        else [int(one) for one in re.findall(r"\d+", colour)[:3]]
    )
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in (n / 255 for n in numbers)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(browser: Any, page_file: Path, scheme: str) -> None:
    for visit in _visits(browser, page_file, color_scheme=scheme):
        names = ("paper", "ink", "soft", "panel", "accent", "on-accent", "mark")
        read = "name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()"
        colours = {name: _luminance(visit.page.evaluate(read, name)) for name in names}
        for text, ground in (
            *((text, ground) for text in ("ink", "soft", "accent") for ground in ("paper", "panel")),
            *(("on-accent", "accent"), ("ink", "mark")),
        ):
            high, low = sorted((colours[text], colours[ground]), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_names_are_shown_and_not_run(visit: Visit, page_file: Path) -> None:
    assert visit.page.title() == "a & b <i>benchmark</i> – chggen report"
    assert visit.page.locator("h1").inner_text() == "a & b <i>benchmark</i>"
    assert HOSTILE in visit.column("system")
    visit.page.locator("#configuration summary").click()
    assert HOSTILE.replace('"', '\\"') in visit.page.locator("pre").inner_text()
    assert str(page_file.parent) in visit.page.locator("#configuration").inner_text()
    assert "A note with <markup> & more." in visit.page.locator(".about").inner_text()
    assert visit.page.locator("#summary b, #summary i, #structures b, header i").count() == 0
    assert visit.page.locator("img[src=x]").count() == 0


def test_a_script_that_got_in_would_not_run(browser: Any, page_file: Path) -> None:
    page = browser.new_context().new_page()
    page.goto(page_file.as_uri())
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.hacked = 3";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.hacked = 4'>");
    }""")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None
    page.context.close()


def test_images_and_tables_are_described(visit: Visit) -> None:
    images = visit.page.locator("img")
    assert images.count() >= 10
    for number in range(images.count()):
        assert len(str(images.nth(number).get_attribute("alt"))) > 40
    heads = visit.page.locator("thead th")
    assert all(heads.nth(i).get_attribute("scope") == "col" for i in range(heads.count()))
    unnamed = """() => [...document.querySelectorAll("button, select, input")].filter(one =>
        !(one.textContent.trim() || one.ariaLabel || (one.labels && one.labels.length))).length"""
    assert visit.page.evaluate(unnamed) == 0


def test_without_webgl_all_else_works(browser: Any, page_file: Path) -> None:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(page_file.as_uri())
    page.locator("[data-table=structures] tbody button").first.click()
    assert "no WebGL" in page.locator("#viewer-canvas").inner_text()
    assert "volume" in page.locator("#viewer-facts").inner_text()
    with page.expect_download():
        page.locator("#viewer-cif").click()
    assert errors == []
    page.context.close()


def test_thousands_of_structures_stay_usable(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "many.html"
    file.write_text(render_page(many_structures(6000), {}), encoding="utf-8")
    for visit in _visits(browser, file):
        assert visit.status() == "6000 of 6000 rows"
        assert visit.page.locator("tr").count() < 40
        started = visit.page.evaluate("performance.now()")
        visit.head("structure").locator("button").click()
        visit.page.locator("#structures input[type=search]").fill("s5")
        assert visit.status() == "1111 of 6000 rows"
        # Ten times what it takes on a busy machine; a table of all rows takes far longer.
        assert visit.page.evaluate("performance.now()") - started < 5000
        # A structure that nobody stored has a row, and no picture.
        visit.rows().first.locator("button").click()
        assert "no structure is stored" in visit.page.locator("#viewer").inner_text()
        assert not visit.page.locator("#viewer-cif").is_visible()


def test_scripts_are_short_and_strict() -> None:
    for path in ASSETS.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 400, path.name
        assert text.startswith('"use strict";')
        assert "innerHTML" not in text, path.name
