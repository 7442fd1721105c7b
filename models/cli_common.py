"""What the commands of the model kit share: one line for a fault, a bar for progress, sheets and figures."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as Sheet

from models.bundle import Bundle, BundleError
from models.contract.config_errors import ConfigError
from models.training.figures import in_words
from models.training.table import DataError

Out = Annotated[Path, typer.Option("--out", "-o", help="The bundle to write, such as pump.bundle.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]
_EXTRAS = {"torch": "train-deep", "onnxruntime": "cpu"}  # where a library comes from, if not from `train`


@contextmanager
def faults() -> Iterator[None]:
    """Whatever the user can mend is one line on stderr and exit status 2."""
    try:
        yield
    except (DataError, BundleError) as error:
        _fail(str(error))
    except ConfigError as error:
        _fail(*str(error).splitlines())
    except ValidationError as error:
        _fail("; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()))
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        extra = _EXTRAS.get(missing, "train")
        _fail(f"{missing} is missing: in a clone ./run tocsin … installs it, else pip install 'tocsin[{extra}]'")
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _fail(*lines: str) -> NoReturn:
    for line in lines:
        sys.stderr.write(" ".join(line.split()) + "\n")
    raise typer.Exit(2)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, when that is a terminal; call it with how many are done, of how many."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def written(out: Path, bundle: Bundle, *, as_json: bool) -> None:
    """A bundle was written: its figures."""
    manifest = bundle.manifest
    facts = {"file": str(out), "bytes": out.stat().st_size, "digest": bundle.digest}
    signer = {"key_id": bundle.signature.key_id} if bundle.signature else {}
    inputs = {"inputs": ", ".join(channel.name for channel in manifest.channels)}
    if as_json:
        sys.stdout.write(json.dumps(manifest.model_dump(mode="json") | facts | signer, indent=2) + "\n")
        return
    figures(
        f"{manifest.name} {manifest.version}", facts | signer | inputs | in_words(manifest.evaluation), as_json=False
    )


def figures(title: str, figures: dict[str, Any], *, as_json: bool) -> None:
    """A sheet of figures under a title, or one JSON object; what is None is left out of the sheet."""
    if as_json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return
    text = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in figures.items()}
    sheet(escape(title), {key: escape(value) for key, value in text.items() if value != "None"})


def sheet(title: str, rows: dict[str, str]) -> None:
    """Two columns under a title."""
    sheet = Sheet(title=title, show_header=False, title_justify="left")
    sheet.add_column(no_wrap=True)
    sheet.add_column(overflow="fold")
    for key, value in rows.items():
        sheet.add_row(key.replace("_", " "), value)
    Console().print(sheet)
