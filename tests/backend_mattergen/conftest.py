from __future__ import annotations

import pytest
from mattergen_toys import require_mattergen


@pytest.fixture(scope="session")
def mattergen_installed() -> None:
    """Skips what needs the package, with the lines that install it."""
    require_mattergen()
