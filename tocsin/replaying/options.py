"""The options that say how a recorded table is laid out: one list for every command that reads one."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from tocsin.errors import UserError
from tocsin.plant.table import Layout, TimeUnit, parse_iso_ns

_LAYOUT = "layout"


def with_layout(command: Callable[..., None]) -> Callable[..., None]:
    """`command` takes a keyword `layout: Layout`; typer is shown the parameters of `layout_of` in its place."""
    options = inspect.signature(layout_of).parameters
    shown: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        shown += options.values() if parameter.name == _LAYOUT else [parameter]

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:  # noqa: ANN401 - typer has checked them
        layout = layout_of(**{name: arguments.pop(name) for name in options})
        command(**arguments, **{_LAYOUT: layout})

    wrapped.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return wrapped


def layout_of(
    *,
    separator: Annotated[str, typer.Option(help="One character, or: comma, semicolon, tab, space (any run).")] = ",",
    columns: Annotated[str, typer.Option(help="Names a,b,c, when the file has no header.")] = "",
    time_column: Annotated[str, typer.Option(help="Default: the first.")] = "",
    time_unit: Annotated[TimeUnit, typer.Option(help="iso, or what a number counts.")] = "iso",
    start: Annotated[str, typer.Option(help="ISO 8601 time that numbers count from.")] = "1970-01-01T00:00:00Z",
    asset: Annotated[str, typer.Option(help="The asset's name.")] = "replay",
    asset_column: Annotated[
        str, typer.Option("--asset-column", "--unit-column", help="The column that names the asset instead.")
    ] = "",
    asset_prefix: Annotated[str, typer.Option(help="Put before the asset's name.")] = "",
    channels: Annotated[str, typer.Option(help="Columns a,b,c to take; default: all numeric ones.")] = "",
    exclude: Annotated[str, typer.Option(help="Columns a,b,c to leave out.")] = "",
) -> Layout:
    """The options as a Layout. Raises UserError."""
    try:
        start_ns = parse_iso_ns(start)
    except ValueError as error:
        msg = f"--start {start!r} (allowed: ISO 8601, such as 2024-01-31T00:00:00Z)"
        raise UserError(msg) from error
    return Layout(
        separator=separator,
        columns=names(columns),
        time_column=time_column,
        time_unit=time_unit,
        start_ns=start_ns,
        asset=asset,
        asset_column=asset_column,
        asset_prefix=asset_prefix,
        channels=names(channels),
        exclude=names(exclude),
    )


def names(text: str) -> tuple[str, ...]:
    """The names of a list a,b,c."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
