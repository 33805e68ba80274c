"""The process of a field that does not move."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from chggen_kit.interfaces.processes import FieldDraws, KernelOptions, NoiseProcess, Scope, Step


class Fixed(NoiseProcess):
    """Every kernel is the identity: the field keeps its clean value at all levels.

    Args:
        scope: `atom` or `crystal`.
    """

    kind: ClassVar[str] = "fixed"
    moves = False

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def parameters(self) -> dict[str, Any]:
        return {"scope": self.scope}

    def prior(self, step: Step, x: Tensor, draws: FieldDraws) -> Tensor:
        del step, draws
        return x

    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        del step, draws
        return x0

    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        del step, draws, kernel
        return x

    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        del prediction, step, draws
        return x

    def correct(
        self, x: Tensor, prediction: Tensor, step: Step, moving: Tensor, draws: FieldDraws, kernel: KernelOptions
    ) -> Tensor | None:
        del x, prediction, step, moving, draws, kernel
        return None

    def wrap(self, x: Tensor) -> Tensor:
        return x
