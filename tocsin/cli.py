"""The command `tocsin`. Only the part that is asked for is imported, so that help comes at once."""

import importlib
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from tocsin.errors import UserError


class _Part(NamedTuple):
    module: str
    text: str


_PARTS = {
    "edge": _Part("tocsin.edge", "The agent on the gateway: sensor topics in, results out."),
    "aggregator": _Part("aggregator.cli", "From the gateways' results to the database, and questions to it."),
    "plant": _Part("tocsin.plant.cli", "Simulate machines, or replay recorded ones, over MQTT."),
    "model": _Part("tocsin.model", "Inspect, train and evaluate models."),
}
_EXTRAS = {
    "onnxruntime": "cpu' (or 'tocsin[gpu]",
    "influxdb_client": "aggregator",
    "iotcore": "console",
    "onnx": "train",
    "sklearn": "train",
    "skl2onnx": "train",
    "polars": "files",
    "matplotlib": "plot",
}
_USER_ERROR = 2


def build(wanted: str | None) -> typer.Typer:
    """The command line, of which only the part `wanted` has its commands."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=_HELP)
    app.callback()(_options)
    app.command()(demo)
    for name, part in _PARTS.items():
        commands: typer.Typer = importlib.import_module(part.module).app if name == wanted else typer.Typer()
        app.add_typer(commands, name=name, help=part.text)
    return app


_HELP = "Hear machines fail before they do: edge agents, an aggregator, and the models they run."


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"tocsin {metadata.version('tocsin')}")
        raise typer.Exit


def _options(
    _version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def demo(
    *,
    for_s: Annotated[float | None, typer.Option("--for", min=0, help="Seconds; else until Ctrl-C.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Keep configuration, logs and data in this folder.")] = None,
    influx: Annotated[str | None, typer.Option(metavar="URL", help="Write to this InfluxDB 1.x instead.")] = None,
    bucket: Annotated[str | None, typer.Option(help="With --influx: it is a 2.x; write to this bucket.")] = None,
    org: Annotated[str | None, typer.Option(help="With --bucket.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="With --bucket.")] = None,
) -> None:
    """Watch it work: a simulated plant, an agent, an aggregator and a store on this machine."""
    from tocsin.demo.cli import demo as run  # noqa: PLC0415 - only the part that is asked for is imported
    from tocsin.demo.setup import InfluxTarget  # noqa: PLC0415 - as above

    if influx is None and (bucket or org or token_file):
        msg = "--bucket, --org and --token-file go with --influx URL"
        raise UserError(msg)
    if bucket is None and (org or token_file):
        msg = "--org and --token-file go with --bucket: InfluxDB 1.x has neither"
        raise UserError(msg)
    target = None if influx is None else InfluxTarget(influx, org, bucket, token_file)
    run(for_s=for_s, keep=keep, influx=target, as_json=as_json)


def main() -> None:
    """Run the command line. What the user can put right is one line on stderr and exit code 2."""
    wanted = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None)
    try:
        build(wanted)()
    except UserError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        _fail(f"{error.name} is not installed: pip install 'tocsin[{extra}]'")


def _fail(text: str) -> None:
    sys.stderr.write(f"tocsin: {text}\n")
    sys.exit(_USER_ERROR)
