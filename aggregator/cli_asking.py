"""What all questions of the command line share: how the answer is wanted, and how it is given.

A command takes its own options and `ask: Asking`, and hands over a question; `with_output` shows typer the options of
`asking_of` in its place.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer
from rich.console import Console
from rich.text import Text

from aggregator import app as aggregator
from aggregator.cli_common import AsJson, Config, fail, faults
from aggregator.config import AggregatorConfig, Influx2, Sqlite, load
from aggregator.core.dialects import flux, influxql, sql
from aggregator.core.questions import Questions
from aggregator.core.select import Select
from aggregator.core.views import Row
from aggregator.output.files import to_csv, to_json
from aggregator.output.table import table
from models.contract.config_errors import ConfigError

Format = Literal["table", "csv", "json"]
Language = Literal["influxql", "sql", "flux"]
Question = Callable[[Questions], list[Row]]

Hint = Callable[[Questions], str]

_FILE_WIDTH = 160
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json"}
_PICTURES = (".png", ".svg", ".pdf")


def _nothing(_: Questions) -> str:
    return "nothing found"


class Asking(NamedTuple):
    """How an answer is wanted."""

    config: Path
    form: Format
    out: Path | None
    show: Language | None
    plot: Path | None

    def answer(
        self,
        question: Question,
        hint: Hint = _nothing,
        columns: Sequence[str] = (),
        limit: int | None = None,
        name: str = "",
    ) -> None:
        """Asks and says, or says how it would ask.

        `hint` says what to do when nothing is found, or raises BadParameter; `columns` are what a picture shows,
        and `name` what a column `value` is; `limit` is how many rows the question asks for at most.
        """
        with faults():
            config = load(self.config)
            if self.show is not None:
                typer.echo(_shown(config, question, self.show))
                return
            draw = _drawing(self.plot)
            reader = aggregator.open_reader(config)
            try:
                rows = question(reader)
                advice = "" if rows else hint(reader)
            finally:
                reader.close()
        if advice:
            typer.echo(advice, err=True)
        if len(rows) == limit:
            typer.echo(f"the newest {limit} rows; --limit {10 * limit} shows more, if there are more", err=True)
        if rows and self.plot is not None:
            _written(self.plot, lambda path: draw(rows, columns or list(rows[0]), path, name))
        if self.out is not None:
            content = _text(rows, self.form, _FILE_WIDTH)
            _written(self.out, lambda path: path.write_text(content, encoding="utf-8"))
        elif self.form != "table":
            typer.echo(_text(rows, self.form, _FILE_WIDTH), nl=False)
        elif rows and self.plot is None:
            _print(rows)


def with_output(*, plot: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For a command with a parameter `ask: Asking`; with `plot` its answer may be drawn."""
    options = [p for p in inspect.signature(asking_of).parameters.values() if plot or p.name != "plot"]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command).parameters.values() if p.name != "ask"]
        shown = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *options)]

        @functools.wraps(command)
        def wrapped(**arguments: Any) -> None:  # noqa: ANN401 - typer has checked them
            try:
                "".join(given for given in arguments.values() if isinstance(given, str)).encode()
            except UnicodeEncodeError as error:
                raise typer.BadParameter("an option holds bytes that are no UTF-8") from error
            command(ask=asking_of(**{p.name: arguments.pop(p.name) for p in options}), **arguments)

        wrapped.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in shown}
        return wrapped

    return decorate


def asking_of(
    *,
    config: Config,
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: by the suffix of --out, else table.")
    ] = None,
    as_json: AsJson = False,
    out: Annotated[Path | None, typer.Option(help="Into a file: .csv, .json, or a table in any other.")] = None,
    show: Annotated[
        Language | None, typer.Option(help="Print the question's text in this language, and do not ask.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw it: a file .png, .svg or .pdf.")] = None,
) -> Asking:
    """The options as one value. Raises typer.BadParameter."""
    if as_json and form not in {None, "json"}:
        raise typer.BadParameter(f"--json and --format {form} exclude each other")
    if plot is not None and plot.suffix.lower() not in _PICTURES:
        raise typer.BadParameter(f"--plot {plot}: pictures are {', '.join(_PICTURES)}")
    suffix = _SUFFIXES.get(out.suffix.lower()) if out is not None else None
    return Asking(config, "json" if as_json else form or suffix or "table", out, show, plot)


class _Recorder:
    """A store without rows that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Select] = []

    def select(self, question: Select, /) -> list[Row]:
        self.asked.append(question)
        return []

    def raw(self, text: str, language: str | None = None) -> list[Row]:
        raise NotImplementedError

    def close(self) -> None:
        """Holds nothing."""


def _shown(config: AggregatorConfig, question: Question, language: Language) -> str:
    recorder = _Recorder()
    question(Questions(recorder))
    asked = recorder.asked[0]
    if language == "influxql":
        return influxql.render(asked)
    if language == "flux":
        bucket = config.store.bucket if isinstance(config.store, Influx2) else "tocsin"
        return flux.render(asked, bucket)
    return sql.render(asked, "sqlite" if isinstance(config.store, Sqlite) else "datafusion")


def _drawing(path: Path | None) -> Callable[[Sequence[Row], Sequence[str], Path, str], None]:
    """What draws; asked for before the store is. Raises ConfigError when its library is not installed."""
    if path is None:
        return lambda _rows, _columns, _path, _name: None
    try:
        draw: Callable[[Sequence[Row], Sequence[str], Path, str], None] = importlib.import_module(
            "aggregator.output.plot"
        ).draw
    except ModuleNotFoundError as error:
        msg = f"--plot needs {error.name}: pip install 'tocsin[plot]'"
        raise ConfigError(msg) from error
    return draw


def _written(path: Path, write: Callable[[Path], object]) -> None:
    try:
        write(path)
    except (OSError, ValueError) as error:
        fail(f"{path}: {getattr(error, 'strerror', None) or error}", 2)
    typer.echo(f"written: {path}", err=True)


def _text(rows: Sequence[Row], form: Format, width: int) -> str:
    if form == "json":
        return to_json(rows)
    if form == "csv":
        return to_csv(rows)
    if not rows:
        return ""
    caption, head, body = table(rows, width)
    return "".join(f"{line}\n" for line in (caption, *head, *body))


def _print(rows: Sequence[Row]) -> None:
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    caption, head, body = table(rows, console.width)
    if caption:
        console.print(Text(caption, style="dim"))
    console.print(Text("\n".join(head), style="bold"))
    console.print(Text("\n".join(body)))
