"""Recipes: a TOML file says what is trained from which data; each method is one module, found in the table below."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from textwrap import wrap
from types import ModuleType
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, create_model

from models.contract.config_errors import ConfigError, check, load_toml
from models.manifest import Name
from models.training.anomaly.calibrate import Budget
from models.training.data import DataSection
from models.training.splits import SplitSection

Kind = Literal["anomaly", "failure", "quality"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SECTIONS = ("data", "split", "model", "alarm")
_COMMENT = 100  # columns


class Method(NamedTuple):
    """Where a method is, and what it needs to be installed."""

    module: str
    says: str
    extra: Literal["train", "train-deep"] = "train"


_ANOMALY, _FAILURE, _QUALITY = (f"models.training.{kind}" for kind in KINDS)
# The first of each kind is its default. A module has `Params` and `fit`.
METHODS: Mapping[Kind, Mapping[str, Method]] = {
    "anomaly": {
        "pca": Method(f"{_ANOMALY}.pca", "principal components, T² and Q: small, quick, says which channel"),
        "isolation-forest": Method(f"{_ANOMALY}.isolation_forest", "rare combinations of values, without any model"),
        "forecast": Method(f"{_ANOMALY}.forecast", "what a linear forecast of the next frames misses"),
        "ensemble": Method(f"{_ANOMALY}.ensemble", "several of these, whose surprises are put together"),
        "streaming": Method(f"{_ANOMALY}.streaming", "each channel by itself; adapts to the series as it comes"),
        "dense-autoencoder": Method(f"{_ANOMALY}.dense_autoencoder", "a network that rebuilds windows", "train-deep"),
        "conv-autoencoder": Method(f"{_ANOMALY}.conv_autoencoder", "likewise, with filters over time", "train-deep"),
    },
    "failure": {
        "trees": Method(f"{_FAILURE}.trees", "boosted trees on features of a window"),
        "network": Method(f"{_FAILURE}.network", "a network on the same features", "train-deep"),
        "convolution": Method(f"{_FAILURE}.convolution", "likewise, beside filters that it learns", "train-deep"),
    },
    "quality": {
        "trees": Method(f"{_QUALITY}.trees", "boosted trees on the mean of a window"),
        "network": Method(f"{_QUALITY}.network", "a network on the mean of a window", "train-deep"),
    },
}


class Recipe(BaseModel):
    """What all recipes have; `model` is the method's own section, and for an anomaly `alarm` is its budget."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    name: Name = Field(description="the model's name in results")
    version: Name = Field("1", description="travels with every result, so that models can be told apart")
    seed: int = Field(0, ge=0, description="the same seed, data and libraries give the same bytes")
    data: DataSection = DataSection()
    split: SplitSection = SplitSection()
    model: Any
    alarm: Any = None

    @property
    def method(self) -> str:
        """Its name in `METHODS`."""
        return str(self.model.method)

    @property
    def module(self) -> ModuleType:
        """Where `fit` is."""
        return import_module(METHODS[self.kind][self.method].module)


def load_recipe(kind: Kind, path: Path | None, overrides: Mapping[str, Any]) -> Recipe:
    """A recipe file, or the defaults of a kind.

    Args:
        kind: what the command trains.
        path: a TOML file; None: all defaults.
        overrides: values that win over the file's, by dotted key such as `data.rows`; None: not given.

    Raises:
        ConfigError: one line a fault, with file, key and cure.
        ModuleNotFoundError: the method needs an extra that is not installed.
    """
    source = str(path) if path else "options"
    content = dict(load_toml(path, _Content).model_extra or {}) if path else {}
    for key, value in overrides.items():
        if value is not None:
            _put(content, key.split("."), value)
    if content.setdefault("kind", kind) != kind:
        msg = f"{source}: kind: {content['kind']!r}, but the command trains {kind} (allowed: {kind})"
        raise ConfigError(msg)
    content.setdefault("name", kind)
    section = content.setdefault("model", {})
    method = section.setdefault("method", default_method(kind)) if isinstance(section, dict) else default_method(kind)
    if method not in METHODS[kind]:
        msg = f"{source}: model.method: {method!r} is not possible (allowed: {', '.join(METHODS[kind])})"
        raise ConfigError(msg)
    return check(content, recipe_class(kind, method), source)


def default_method(kind: Kind) -> str:
    """The first of the table."""
    return next(iter(METHODS[kind]))


@cache
def recipe_class(kind: Kind, method: str) -> type[Recipe]:
    """The class of recipes of one method: unknown keys are refused in each section."""
    params = import_module(METHODS[kind][method].module).Params
    model = create_model("Model", __base__=params, method=(str, Field(method, description=_choice(METHODS[kind]))))
    fields: dict[str, Any] = {
        "kind": (Literal[kind], Field(kind, description="what is trained")),
        "name": (Name, Field(kind, description="the model's name in results")),
        "model": (model, model()),
        "alarm": (Budget, Budget()) if kind == "anomaly" else (None, None),
    }
    return create_model("Recipe", __base__=Recipe, **fields)


def example(kind: Kind, method: str) -> str:
    """A recipe file with every key, its default and what it means."""
    recipe = recipe_class(kind, method).model_validate({})
    lines = [f"# {method}: {METHODS[kind][method].says}.", "# Each value is the default; a key may be left out.", ""]
    lines += _section(recipe, skip=_SECTIONS)
    for name in _SECTIONS:
        if getattr(recipe, name) is not None:
            lines += ["", f"[{name}]", *_section(getattr(recipe, name))]
    return "\n".join(lines) + "\n"


def as_toml(recipe: Recipe) -> str:
    """The recipe as it was used, every value written out, without comments."""
    lines = [f"{name} = {_value(getattr(recipe, name))}" for name in ("kind", "name", "version", "seed")]
    for table in _SECTIONS:
        if (section := getattr(recipe, table)) is not None:
            values = {name: getattr(section, name) for name in _keys(section)}
            lines += ["", f"[{table}]"]
            lines += [f"{name} = {_value(value)}" for name, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


class _Content(BaseModel, extra="allow"):
    """Any TOML file."""


def _put(content: dict[str, Any], keys: Sequence[str], value: object) -> None:
    *tables, last = keys
    for table in tables:
        content = content.setdefault(table, {})
    content[last] = value


def _choice(methods: Mapping[str, Method]) -> str:
    return ", ".join(f"{name} ({each.extra})" if each.extra != "train" else name for name, each in methods.items())


def _keys(section: BaseModel) -> list[str]:
    """The method before its own keys."""
    return sorted(type(section).model_fields, key=lambda name: name != "method")


def _section(section: BaseModel, *, skip: Sequence[str] = ()) -> list[str]:
    lines = []
    for name in _keys(section):
        if name in skip:
            continue
        value = getattr(section, name)
        if description := type(section).model_fields[name].description:
            lines += wrap(description, _COMMENT, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        lines.append(f"# {name} =" if value is None else f"{name} = {_value(value)}")
    return lines


def _value(value: object) -> str:
    """As TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case int() | float():
            return repr(value)
        case BaseModel():
            return _value({name: getattr(value, name) for name in type(value).model_fields})
        case Mapping():
            inner = ", ".join(f"{_value(str(key))} = {_value(item)}" for key, item in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case Sequence():
            return f"[{', '.join(_value(item) for item in value)}]"
    msg = f"{type(value).__name__} has no place in TOML"
    raise TypeError(msg)
