"""Options of a plug-in: a mapping from the user becomes the plug-in's pydantic model, or a message that helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from chggen_kit.errors import InputError, unknown_name
from chggen_kit.plugins.entry import PluginEntry

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >=", "max_length": "length <="}


@dataclass(frozen=True)
class OptionInfo:
    """One option as it is shown to users."""

    name: str
    type: str
    default: str
    required: bool
    description: str


def describe_options(model: type[BaseModel]) -> list[OptionInfo]:
    """The options of `model`, in the order of their definition."""
    described = []
    for name, info in model.model_fields.items():
        if info.is_required():
            default = "required"
        elif info.default_factory is not None:
            default = f"{getattr(info.default_factory, '__name__', 'computed')}()"
        else:
            default = repr(info.default)
        limits = ", ".join(text for m in info.metadata for text in _limits(m))
        described.append(
            OptionInfo(
                name=name,
                type=_type_name(info.annotation) + (f", {limits}" if limits else ""),
                default=default,
                required=info.is_required(),
                description=info.description or "",
            )
        )
    return described


def _type_name(annotation: object) -> str:
    """`annotation` as users write types: `int | None`, `'a' | 'b'`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " | ".join(_type_name(a) for a in arguments)
    if origin is Literal:
        return " | ".join(repr(a) for a in arguments)
    if origin is Annotated:
        return " ".join([_type_name(arguments[0]), *(text for m in arguments[1:] for text in _limits(m))])
    if isinstance(origin, type) and arguments:
        return f"{origin.__name__}[{', '.join(_type_name(a) for a in arguments)}]"
    if annotation is NoneType or annotation is Ellipsis:
        return "None" if annotation is NoneType else "..."
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _limits(metadata: object) -> list[str]:
    """Readable bounds of one piece of a field's metadata (`Ge(ge=1)` is `>= 1`)."""
    own = [f"{sign} {getattr(metadata, name)}" for name, sign in _SIGNS.items() if hasattr(metadata, name)]
    # A `Field(...)` inside a type keeps its bounds one level down.
    return own + [text for m in getattr(metadata, "metadata", ()) for text in _limits(m)]


def validate_options(entry: PluginEntry, options: Mapping[str, Any] | BaseModel | None) -> BaseModel | None:
    """The options model of `entry`, filled from `options`; None when the plug-in has no options.

    Unknown names are refused whatever the model's own policy on extra fields; hyphens in names count as underscores.

    Raises:
        InputError: for an unknown option, or a value that the model refuses; the message lists every problem.
        PluginError: when the model cannot be imported.
    """
    from pydantic import BaseModel, ValidationError

    model = entry.load_options()
    what = f"{entry.kind} {entry.name!r}"
    if isinstance(options, BaseModel):
        if model is not None and isinstance(options, model):
            return options
        wanted = model.__name__ if model else "none"
        raise InputError(f"Options of {what} are a {type(options).__name__}; its own model is {wanted}.")
    given = {str(k).replace("-", "_"): v for k, v in (options or {}).items()}
    if model is None:
        if given:
            raise InputError(f"The {what} has no options, but was given {', '.join(sorted(given))}.")
        return None
    for name in given:
        if name not in model.model_fields:
            raise InputError(unknown_name(f"option of {what}:", name, model.model_fields))
    try:
        return model.model_validate(given)
    except ValidationError as exc:
        raise InputError(_explain(exc, what, model)) from exc


def _explain(error: ValidationError, what: str, model: type[BaseModel]) -> str:
    known = {o.name: o for o in describe_options(model)}
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(p) for p in problem["loc"])
        info = known.get(str(problem["loc"][0])) if problem["loc"] else None
        got = "" if problem["type"] == "missing" else f", got {problem['input']!r}"
        allowed = f" [{info.type}, default {info.default}]" if info and not info.required else ""
        lines.append(f"  {name + ': ' if name else ''}{problem['msg']}{got}{allowed}")
    return "\n".join([f"Options of {what} cannot be used:", *lines, f"Options: {', '.join(known) or 'none'}."])
