"""Specifications in YAML, and messages that say what of them does not fit."""

from __future__ import annotations

from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from chggen_kit.errors import InputError

AnyModel = TypeVar("AnyModel", bound=BaseModel)


class _UniqueKeys(yaml.SafeLoader):
    """A key that stands twice would silently win over the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def validated(model: type[AnyModel], plain: Any, where: str) -> AnyModel:  # noqa: ANN401  whatever a file holds
    """`plain` as a `model`.

    Raises:
        InputError: naming each value that does not fit, and where it stands.
    """
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        lines = []
        problems = error.errors(include_url=False, include_input=False)
        places = [problem["loc"] for problem in problems]
        for problem in problems:
            own = problem["loc"]
            if problem["type"] == "too_short" and any(p[: len(own)] == own and len(p) > len(own) for p in places):
                continue  # it is short of what is wrong itself
            place = ".".join(str(part) for part in problem["loc"]) or "the whole"
            lines.append(f"{place}: {problem['msg'].removeprefix('Value error, ')}")
        raise InputError(f"{where} is not valid. " + "; ".join(dict.fromkeys(lines))) from error


def read_yaml(text: str, where: str) -> Any:  # noqa: ANN401  whatever a file holds
    """What YAML in `text` holds; a key that stands twice is refused.

    Raises:
        InputError: when it is no YAML.
    """
    try:
        return yaml.load(text, _UniqueKeys)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not valid YAML: {error}.") from error
