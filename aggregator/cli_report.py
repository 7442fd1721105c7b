"""`tocsin aggregator report`: the shift report, for whoever decides which machine to look at first."""

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import typer

from aggregator.adapters import stores
from aggregator.cli_common import Config, faults, since_ns
from aggregator.config import AggregatorConfig, load
from aggregator.config.maintenance import zone
from aggregator.core.report.content import Report
from aggregator.core.report.html import to_html
from aggregator.core.report.markdown import to_markdown
from aggregator.core.report.pages import page

Format = Literal["html", "markdown", "json"]
_SUFFIXES: dict[str, Format] = {".html": "html", ".htm": "html", ".md": "markdown", ".json": "json"}


def report(
    config: Config,
    since: Annotated[str, typer.Option(help="How far back from --until (8h, 1d), or an ISO time.")] = "8h",
    until: Annotated[str | None, typer.Option(help="The end: an ISO time, or how far back from now (30m).")] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="Without it, by the suffix of --out; else Markdown.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A file instead of the terminal: .html, .md or .json.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Of the times shown, such as Europe/Berlin. Else maintenance.timezone, or UTC.")
    ] = None,
) -> None:
    """Which machine to look at first, and why; and what work is worth doing in which window.

    Assets by risk, alarms, remaining life, sensors in bad quality, gaps and losses, models in use. Where the file
    declares under `maintenance` what work costs, also a plan: the cheapest order of work within the crews' windows.

    tocsin aggregator report --config aggregator.toml --since 8h --out shift.html
    """
    with faults():
        shown = _format(form, out)
        content = load(config)
        made, local = _made(content, since, until, timezone or content.maintenance.timezone)
        text = _text(made, local, shown)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{out} cannot be written: {error.strerror or error}", param_hint="--out") from error
    typer.echo(f"written: {out}", err=True)


def _made(config: AggregatorConfig, since: str, until: str | None, timezone: str) -> tuple[Report, ZoneInfo]:
    try:
        local = zone(timezone)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timezone") from error
    now_ns = time.time_ns()
    until_ns = now_ns if until is None else since_ns(until, now_ns)
    begin_ns = max(since_ns(since, until_ns), 0)
    if begin_ns >= until_ns:
        raise typer.BadParameter(
            "the span ends before it begins: --since must lie before --until", param_hint="--since"
        )
    from aggregator.core.report.make import make  # noqa: PLC0415 - scipy is slow to import, and `run` needs none of it

    reader = stores.open_reader(config.store)
    try:
        return make(reader, begin_ns, until_ns, config.maintenance, local), local
    finally:
        reader.close()


def _format(form: Format | None, out: Path | None) -> Format:
    if form is not None:
        return form
    if out is None:
        return "markdown"
    if out.suffix.lower() not in _SUFFIXES:
        hint = f"{out.name!r} does not say the format (allowed: {', '.join(_SUFFIXES)}, or --format)"
        raise typer.BadParameter(hint, param_hint="--out")
    return _SUFFIXES[out.suffix.lower()]


def _text(made: Report, local: ZoneInfo, form: Format) -> str:
    if form == "json":
        return json.dumps(_finite(asdict(made)), allow_nan=False) + "\n"
    document = page(made, local)
    return to_html(document) if form == "html" else to_markdown(document)


def _finite(value: object) -> object:
    """JSON has no NaN and no infinity: both become null."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
