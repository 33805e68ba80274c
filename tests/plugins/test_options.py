from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from chggen_kit.plugins import describe_options


class Options(BaseModel):
    checkpoint: Path
    steps: int | None = Field(default=None, ge=2, lt=1000, description="levels")
    mode: Literal["exact", "paper"] | None = None
    rungs: tuple[tuple[Annotated[float, Field(gt=0)], int], ...] = ()
    names: list[str] = Field(default_factory=list)


def test_options_are_described_for_users() -> None:
    described = {o.name: o for o in describe_options(Options)}
    assert list(described) == ["checkpoint", "steps", "mode", "rungs", "names"]
    assert (described["checkpoint"].type, described["checkpoint"].default) == ("Path", "required")
    assert described["checkpoint"].required
    assert (described["steps"].type, described["steps"].default) == ("int | None, >= 2, < 1000", "None")
    assert described["steps"].description == "levels"
    assert described["mode"].type == "'exact' | 'paper' | None"
    assert (described["names"].type, described["names"].default) == ("list[str]", "list()")
    assert described["rungs"].type == "tuple[tuple[float > 0, int], ...]"
