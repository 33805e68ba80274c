"""What SevenNet's options refuse, without the package."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from chggen_sevennet.options import SevennetOptions


def test_a_modality_is_named_where_there_is_one_and_nowhere_else() -> None:
    assert SevennetOptions(weights="7net-mf-0", modality="PBE").modality == "PBE"
    with pytest.raises(ValidationError, match="needs a modality"):
        SevennetOptions(weights="7net-mf-0")
    with pytest.raises(ValidationError, match="only 7net-mf-0 has modalities"):
        SevennetOptions(weights="7net-0", modality="PBE")
