"""Finding a browser for the tests of reports."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "chrome-headless-shell")
SKIPPED = (
    "no Chromium: set CHGGEN_CHROMIUM to its program, install one (apt install chromium, playwright install chromium), "
    "or run .ci/browser FOLDER"
)


def find_browser(own: str | None = None) -> str | None:
    """Program of a Chromium: CHGGEN_CHROMIUM, then one on the path, then playwright's `own` where it is there."""
    named = os.environ.get("CHGGEN_CHROMIUM")
    if named:
        if not Path(named).is_file():
            pytest.fail(f"CHGGEN_CHROMIUM names {named}, which is not there.")
        return named
    on_path = next((found for found in map(shutil.which, NAMES) if found), None)
    return on_path or (own if own and Path(own).is_file() else None)


@contextmanager
def launched() -> Iterator[Any]:
    """A headless browser; skips where there is none."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra test)")
    with driver.sync_playwright() as running:
        program = find_browser(running.chromium.executable_path)
        if program is None:
            pytest.skip(SKIPPED)
        # Chromium's sandbox refuses to run as root; software rendering gives WebGL where there is no graphics card.
        arguments = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = running.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
