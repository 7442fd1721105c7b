"""The commands `tocsin edge …`.

Exit codes: 0 stopped in order; 1 an unexpected error; 2 the configuration is faulty; 3 it is sound, but the
agent cannot start with it here (a provider that is required and missing, a file that cannot be written).
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer

from edge_agent import journal_cli, logs
from edge_agent.config import EdgeConfig, Log, load
from edge_agent.config.shadows import shadowed
from edge_agent.core.errors import StartError
from edge_agent.core.fitting import misfits, namesakes, unlike_units
from edge_agent.deadletters_cli import deadletters
from edge_agent.doctor_cli import doctor
from models.bundle import BundleError, Manifest, read_bundle
from models.contract.config_errors import ConfigError
from models.trust import Trust

app = typer.Typer(no_args_is_help=True, help="The agent on the gateway: sensor topics in, results out.")
app.add_typer(journal_cli.app, name="journal")
app.command()(deadletters)
app.command()(doctor)

_Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The agent's TOML file.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]


@app.command()
def run(config: _Config) -> None:
    """Run the agent until SIGTERM (exit 0). SIGHUP reads CONFIG again.

    A model whose file cannot be used does not keep the agent from starting: the bundle that served before does, or the
    model is left out; log, alarm and state say so. `check` is strict.
    """
    from edge_agent.adapters.heap import keep_freed_memory  # noqa: PLC0415
    from edge_agent.app import Agent  # noqa: PLC0415 - `check` must not need ONNX Runtime
    from edge_agent.ports import NoRoomError  # noqa: PLC0415

    try:
        settings = load(config)
    except ConfigError as error:
        _fail(str(error), 2)
    logs.set_up(settings.log)
    keep_freed_memory()
    try:
        has_ended = asyncio.run(Agent(config, settings).run())
    except (ConfigError, BundleError) as error:
        _cannot_start(settings.log, str(error), 2)
    except (StartError, OSError) as error:
        _cannot_start(settings.log, str(error), 3)
    except NoRoomError as error:  # room may come: a supervisor should try again
        _cannot_start(settings.log, f"{settings.state_dir}: no room to start: {error}", 1)
    if not has_ended:
        sys.stderr.flush()
        os._exit(0)  # an ordinary end would take the ground from under a thread that is still in ONNX Runtime


@app.command()
def check(
    config: _Config,
    *,
    prove: Annotated[
        bool, typer.Option("--prove", help="Load each model too, and prove it on inference.providers, as `run` does.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Check CONFIG and its models without connecting to anything. Exit 0: it can be used; 2: it or a model is faulty.

    Strict, where `run` leaves a faulty model out. `--prove` takes as long and as much memory as `run` does to load its
    models; exit 2: one runs on none of inference.providers; exit 3: one does not run where inference.require has it.
    """
    try:
        settings = load(config)
        models = _check_models(config, settings)
        proved = _prove(settings) if prove else {}
    except (ConfigError, BundleError) as error:
        _faulty(str(error), 2, as_json=as_json)
    except StartError as error:
        _faulty(str(error), 3, as_json=as_json)
    warnings = [*shadowed(settings), *namesakes(models), *unlike_units(settings, models)]
    if as_json:
        names = [f"{m.name} {m.version}" for m in models.values()]
        found = {"ok": True, "models": names, "warnings": warnings}
        typer.echo(json.dumps(found | ({"proved": proved} if prove else {})))
    else:
        for warning in warnings:
            typer.echo(f"{config}: warning: {warning}", err=True)
        for file, (provider, reason) in proved.items():
            typer.echo(f"{file}: runs on {provider}" + f", not on the first that is wanted: {reason}" * bool(reason))
        counted = f"{_counted(len(settings.topics), 'topic template')}, {_counted(len(models), 'model')}"
        typer.echo(f"{config}: sound: {counted}" + _untried(settings) * bool(models and not prove))


def _check_models(path: Path, settings: EdgeConfig) -> dict[Path, Manifest]:
    """The manifests of all files, which fit their assets. Raises ConfigError, BundleError: all faults, a line each."""
    trust = Trust.read(settings.inference.trusted_keys, allow_unsigned=settings.inference.allow_unsigned)
    manifests: dict[Path, Manifest] = {}
    wrong: list[str] = []
    for file in _model_files(settings):
        try:
            manifests[file] = read_bundle(file, trust.check).manifest
        except BundleError as error:
            wrong.append(str(error))
    wrong += [f"{path}: {fault}" for fault in misfits(settings, manifests).values()]
    if wrong:
        raise BundleError("\n".join(wrong))
    return manifests


def _prove(settings: EdgeConfig) -> dict[str, tuple[str, str]]:
    """File -> the provider that its model runs on, and why not the first. Raises BundleError, StartError."""
    from edge_agent.adapters.inference import ModelShelf  # noqa: PLC0415 - ONNX Runtime only where it is asked for

    logs.set_up(settings.log.model_copy(update={"level": "warning"}))
    with tempfile.TemporaryDirectory() as scratch:
        adopted = ModelShelf(Path(scratch), settings.inference).adopt_all(_model_files(settings))
    return {str(file): (one.provider, one.reason) for file, one in adopted.items()}


def _model_files(settings: EdgeConfig) -> list[Path]:
    return sorted({model for rule in settings.assets for model in rule.models})


def _untried(settings: EdgeConfig) -> str:
    """What only a run on the provider could tell."""
    wanted = [name for name in settings.inference.providers if name in {"tensorrt", "cuda"}]
    return f"; whether {' and '.join(wanted)} can be used here tells --prove" if wanted else ""


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _cannot_start(log: Log, text: str, code: int) -> NoReturn:
    """One line for whoever reads the log: of the kind that it has."""
    if log.format == "json":
        structlog.get_logger().error("the agent cannot start", error=text, exit_code=code)
        raise typer.Exit(code)
    _fail(text, code)


def _faulty(text: str, code: int, *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"ok": False, "faults": text.splitlines()}))
        raise typer.Exit(code)
    _fail(text, code)


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(code)
