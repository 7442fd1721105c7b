"""Configuration files whose faults read like advice: each with file, key, what is wrong and what is allowed.

Needs pydantic and the standard library. Values are shown only where the choice is a closed list, so that no
secret of a configuration reaches a screen or a log.
"""

import difflib
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)
Location = tuple[int | str, ...]

# What is wrong with a value that is none, or of another kind, in TOML's words.
_KINDS = {
    "missing": "is missing",
    "tuple_type": "a list is needed: [ … ]",
    "list_type": "a list is needed: [ … ]",
    "dict_type": "a table is needed: { key = value }",
    "model_type": "a table is needed: { key = value }",
    "model_attributes_type": "a table is needed: { key = value }",
    "float_parsing": "a number is needed; the unit stands in the key's name",
    "int_parsing": "a whole number is needed; the unit stands in the key's name",
    "float_type": "a number is needed",
    "int_type": "a whole number is needed",
    "string_type": "text in quotes is needed",
    "bool_type": "true or false is needed",
}
# What pydantic calls a limit, in words.
_LIMITS = {
    "ge": "at least {}",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "min_length": "at least {} long",
    "max_length": "at most {} long",
    "pattern": "text matching {}",
}


class ConfigError(ValueError):
    """The configuration cannot be used; each line of the text names one fault. A person must edit the file."""


def load_toml(path: Path, model: type[M]) -> M:
    """The checked content of a TOML file. Raises ConfigError with one line a fault."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror or error}"
        raise ConfigError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path}: is no TOML: {error}"
        raise ConfigError(msg) from error
    return check(content, model, str(path))


def check(content: dict[str, Any], model: type[M], source: str) -> M:
    """The checked content; `source` names its origin in messages. Raises ConfigError with one line a fault."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise ConfigError("\n".join(f"{source}: {_describe(fault, model)}" for fault in faults)) from None


def _describe(fault: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context, location = fault["type"], fault.get("ctx", {}), fault["loc"]
    key, siblings = _resolve(model, location, is_key=kind == "extra_forbidden")
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(location[-1]), siblings, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return f"{key}: unknown key{'; ' + hint if hint else ' '}(allowed: {', '.join(siblings)})"
    if kind == "literal_error":
        return f"{key}: {fault['input']!r} is not possible (allowed: {context['expected']})"
    if kind == "union_tag_invalid":
        place = f"{key}.{context['discriminator']}".replace("'", "")
        return f"{place}: {context['tag']!r} is not possible (allowed: {context['expected_tags']})"
    if kind == "union_tag_not_found":
        return f"{key}.{context['discriminator']}: is missing".replace("'", "")
    if kind in _KINDS:
        return f"{key}: {_KINDS[kind]}"
    text = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    limits = [words.format(context[name]) for name, words in _LIMITS.items() if name in context]
    return f"{key}: {text[:1].lower()}{text[1:]}" + (f" (allowed: {', '.join(limits)})" if limits else "")


def _resolve(model: type[BaseModel], location: Location, *, is_key: bool) -> tuple[str, list[str]]:
    """The key as one writes it in TOML (union tags left out), and the keys known beside it.

    `is_key`: the last part stands in the file, whatever tag it may equal.
    """
    known: list[Any] = [model]
    siblings: list[str] = []
    key = ""
    for number, part in enumerate(location, 1):
        if isinstance(part, int):
            key += f"[{part}]"
            continue
        models = [kind for annotation in known for kind in _models(annotation)]
        tagged = [kind for kind in models if _has_tag(kind, part)]
        may_be_tag = number < len(location) or not is_key
        if tagged and may_be_tag and not any(part in kind.model_fields for kind in models):
            known = list(tagged)
            continue
        siblings = sorted({name for kind in models for name in kind.model_fields})
        known = [kind.model_fields[part].annotation for kind in models if part in kind.model_fields]
        key += f".{part}" if key else part
    return key or "file", siblings


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - an annotation has no narrower type
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from _models(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, types.UnionType, list, tuple, dict}:
        for argument in get_args(annotation):
            yield from _models(argument)


def _has_tag(model: type[BaseModel], tag: str) -> bool:
    return any(
        get_origin(field.annotation) is Literal and tag in get_args(field.annotation)
        for field in model.model_fields.values()
    )
