"""The example package is found through its entry point and passes its own tests."""

from __future__ import annotations

from pathlib import Path

import plugin_sites

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "plugin-package"


def test_it_is_found_and_passes_its_own_tests(tmp_path: Path) -> None:
    plugin_sites.install(PACKAGE, tmp_path)
    result = plugin_sites.run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=PACKAGE, timeout_s=300)
    assert result.returncode == 0, result.stdout + result.stderr
    listing = plugin_sites.chggen(tmp_path, "plugins")
    rows = [line.split()[0] for line in listing.stdout.splitlines() if " springs " in line]
    assert rows == ["score-model", "potential"]
