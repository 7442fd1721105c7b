"""`tocsin edge replay`: recorded data through the agent's own pipeline; results to a file, and as a picture."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from edge_agent import logs
from edge_agent.config import EdgeConfig, Log, load
from edge_agent.core.errors import StartError
from models.bundle import BundleError, Channel, read_bundle
from models.contract.batch import Batch
from models.contract.config_errors import ConfigError
from models.contract.quality import label
from tocsin.errors import UserError
from tocsin.plant.table import Layout
from tocsin.replaying.fit import renamed_inputs
from tocsin.replaying.options import names, with_layout
from tocsin.replaying.outputs import SUFFIXES, check_place, open_output
from tocsin.replaying.recording import Recording
from tocsin.replaying.rows import OnRead, read_messages

if TYPE_CHECKING:
    from edge_agent.replay import Replay

_PICTURES = (".png", ".html")


@with_layout
def replay(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The agent's TOML file.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="CSV, or .parquet. Default: the journal of CONFIG.")
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="Results: .csv or .parquet, a row a value; .lp, line protocol as the aggregator's."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="A picture of one asset: .png, or .html with tables.")] = None,
    plot_asset: Annotated[str, typer.Option(help="Default: the one with the most alarms.")] = "",
    plot_channels: Annotated[str, typer.Option(help="Channels a,b,c; default: 8, those of the models first.")] = "",
    layout: Layout,
    use_config: Annotated[
        bool,
        typer.Option(
            "--use-config",
            help="Replay the journal with CONFIG's rules and models instead of those that held when it was written.",
        ),
    ] = False,
    topic: Annotated[str, typer.Option(help="Where rows come from; default: a template of CONFIG.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Run the agent's pipeline over a file or over the agent's journal, without any broker.

    The numbers are those that the live agent gives for the same readings: of a file with the rules and models of
    CONFIG, of the journal with those that held when it was written.

    For example: tocsin edge replay edge.toml pump.csv --asset pump-1 --out scores.parquet --plot pump.html
    """
    logs.set_up(Log(level="warning", format="console"))  # on stderr: stdout is for the summary
    try:
        check_place("--out", out, SUFFIXES)
        check_place("--plot", plot, _PICTURES)
        _check_extras(file, out, plot)
        settings = load(config)
        from edge_agent.replay import Replay  # noqa: PLC0415 - ONNX Runtime only where it is used

        run, recording = Replay(settings), Recording(plot_asset) if plot else None
        with _progress() as on_read:
            if file is None:
                batches = run.of_journal(on_read, use_config=use_config)
            else:
                rows = read_messages(file, layout, topic or _packed_topic(config, settings), on_read)
                batches = run.of_messages(rows)
            seen: defaultdict[str, set[str]] = defaultdict(set)
            summary = _consume(batches, out, recording, seen)
        _report(summary, run, as_json=as_json)
        _tell_other_rules(settings, run.used)
        for sentence in renamed_inputs(settings, seen):
            typer.echo(sentence, err=True)
        if plot and recording:
            _draw(plot, settings, recording, names(plot_channels))
    except OSError as error:
        typer.echo(f"{error.filename}: {error.strerror}", err=True)
        raise typer.Exit(2) from error
    except (ConfigError, BundleError, UserError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except StartError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from error


def _report(summary: dict[str, Any], run: "Replay", *, as_json: bool) -> None:
    reasons = dict(sorted(run.deadletters.items()))
    if as_json:
        counts = {"deadletters": run.deadletters.total(), "deadletters_by_reason": reasons}
        typer.echo(json.dumps(summary | counts))
        return
    quality = summary.pop("quality")
    counts = summary | {"deadletters": run.deadletters.total()}
    typer.echo("  ".join(f"{name} {count}" for name, count in counts.items()))
    if set(quality) - {"good"}:
        typer.echo("  ".join(f"{name} {count}" for name, count in quality.items()))
    for letter in run.examples.values():
        typer.echo(f"set aside: {letter.topic}: {letter.reason}: {letter.text}", err=True)
    has_models = any(rule.models for rule in run.used.assets)
    if has_models and counts["readings"] and not counts["inferences"]:
        typer.echo("no score: no rule of `assets` with a model fits the asset, or a channel is missing", err=True)


def _tell_other_rules(settings: EdgeConfig, used: EdgeConfig) -> None:
    """Whoever has changed CONFIG since must not take the journal's results for those of the change."""
    changed = [name for name in ("topics", "channels", "assets") if getattr(used, name) != getattr(settings, name)]
    if changed:
        listed = " and ".join(f"`{name}`" for name in changed)
        typer.echo(
            f"replayed as journalled, whose last configuration has other {listed} than CONFIG: give --use-config "
            "for CONFIG's rules and models",
            err=True,
        )


def _check_extras(file: Path | None, out: Path | None, plot: Path | None) -> None:
    """What is missing shows before the work, not after it. Raises UserError."""
    uses_parquet = any(path and path.suffix.lower() == ".parquet" for path in (file, out))
    for module, extra, is_used in (("polars", "files", uses_parquet), ("matplotlib", "plot", plot is not None)):
        if is_used:
            try:
                import_module(module)
            except ModuleNotFoundError as error:
                msg = f"{module} is not installed: pip install 'tocsin[{extra}]'"
                raise UserError(msg) from error


def _packed_topic(config: Path, settings: EdgeConfig) -> str:
    """A topic that CONFIG reads: of a JSON template without {channel} if there is one. Raises UserError."""
    plain = [topic for topic in settings.topics if (topic.format, topic.compression) == ("json", "none")]
    templates = [topic.template for topic in plain if "{channel}" not in topic.template]
    if not templates:
        allowed = "(allowed: add one, such as 'factory/{line}/{asset}')"
        msg = f"{config}: topics: no JSON template is without {{channel}}, as rows of many channels need one {allowed}"
        raise UserError(msg)
    return re.sub(r"\{(?!asset\})[a-z_]+\}", "replay", templates[0])


@contextmanager
def _progress() -> Iterator[OnRead]:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("replay"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("replay", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _consume(
    batches: Iterator[Batch], out: Path | None, recording: Recording | None, seen: defaultdict[str, set[str]]
) -> dict[str, Any]:
    """Everything that is done with a batch, and the counts. `seen`: the channels of each asset, added to."""
    readings = inferences = alarms = 0
    quality: Counter[int] = Counter()
    with open_output(out) if out else nullcontext(_ignore) as add:
        for batch in batches:
            readings += len(batch.readings.quality)
            inferences += len(batch.inferences.index) // 4
            alarms += len(batch.alarms)
            codes, counts = np.unique(np.frombuffer(batch.readings.quality, "u1"), return_counts=True)
            quality.update(dict(zip(codes.tolist(), counts.tolist(), strict=True)))
            for asset, channel in batch.readings.series:
                seen[asset].add(channel)
            add(batch)
            if recording:
                recording.add(batch)
    by_label = {label(code): count for code, count in sorted(quality.items())}
    return {"readings": readings, "inferences": inferences, "alarms": alarms, "quality": by_label}


def _ignore(_batch: Batch) -> None:
    pass


def _draw(path: Path, settings: EdgeConfig, recording: Recording, channels: tuple[str, ...]) -> None:
    @cache
    def inputs(asset: str) -> dict[str, Channel]:
        """What the models of an asset take; none, where they are not to be had: then marks alone decide."""
        rule = settings.asset_rule(asset)
        try:
            manifests = [read_bundle(model).manifest for model in rule.models] if rule else []
        except BundleError:
            return {}
        return {channel.name: channel for manifest in manifests for channel in manifest.channels}

    def unit_of(asset: str, channel: str) -> str:
        rule, known = settings.channel_rule(asset, channel), inputs(asset).get(channel)
        return (rule.unit if rule else "") or (known.unit if known else "")

    view = recording.view(settings.site, channels, inputs, unit_of)
    if path.suffix.lower() == ".html":
        from tocsin.replaying.page import page  # noqa: PLC0415 - matplotlib only where it is used

        path.write_text(page(view), encoding="utf-8")
    else:
        from tocsin.replaying.picture import draw  # noqa: PLC0415 - as above

        path.write_bytes(draw(view))
