"""The commands `tocsin edge …`.

Exit codes: 0 stopped in order; 1 an unexpected error; 2 the configuration is faulty; 3 it is sound, but the
agent cannot start with it here (a provider that is required and missing, a file that cannot be written).
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from edge_agent import journal_cli, logs
from edge_agent.config import EdgeConfig, load
from edge_agent.config.shadows import shadowed
from edge_agent.core.fitting import faults
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
    """Run the agent until SIGTERM (exit 0). SIGHUP reads CONFIG again."""
    from edge_agent.adapters.heap import keep_freed_memory  # noqa: PLC0415
    from edge_agent.app import Agent  # noqa: PLC0415 - `check` must not need ONNX Runtime
    from edge_agent.core.errors import StartError  # noqa: PLC0415
    from edge_agent.ports import NoRoomError  # noqa: PLC0415

    settings = _load(config)
    logs.set_up(settings.log)
    keep_freed_memory()
    try:
        has_ended = asyncio.run(Agent(config, settings).run())
    except (ConfigError, BundleError) as error:
        _fail(str(error), 2)
    except (StartError, OSError) as error:
        _fail(str(error), 3)
    except NoRoomError as error:  # room may come: a supervisor should try again
        _fail(f"{settings.state_dir}: no room to start: {error}", 1)
    if not has_ended:
        sys.stderr.flush()
        os._exit(0)  # an ordinary end would take the ground from under a thread that is still in ONNX Runtime


@app.command()
def check(config: _Config, as_json: _Json = False) -> None:
    """Check CONFIG and its models without connecting to anything. Exit 0: it can be used."""
    try:
        settings = load(config)
        models = _check_models(config, settings)
    except (ConfigError, BundleError) as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, "faults": str(error).splitlines()}))
            raise typer.Exit(2) from error
        _fail(str(error), 2)
    warnings = shadowed(settings)
    if as_json:
        names = [f"{m.name} {m.version}" for m in models]
        typer.echo(json.dumps({"ok": True, "models": names, "warnings": warnings}))
    else:
        for warning in warnings:
            typer.echo(f"{config}: warning: {warning}", err=True)
        typer.echo(f"{config}: sound: {len(settings.topics)} topic templates, {len(models)} models")


def _check_models(path: Path, settings: EdgeConfig) -> list[Manifest]:
    """The manifests of all models, which fit their assets. Raises ConfigError, BundleError."""
    files = sorted({model for rule in settings.assets for model in rule.models})
    trust = Trust.read(settings.inference.trusted_keys, allow_unsigned=settings.inference.allow_unsigned)
    manifests = {file: read_bundle(file, trust.check).manifest for file in files}
    if wrong := faults(settings, manifests):
        raise ConfigError("\n".join(f"{path}: {fault}" for fault in wrong))
    return list(manifests.values())


def _load(path: Path) -> EdgeConfig:
    try:
        settings = load(path)
        _check_models(path, settings)
    except (ConfigError, BundleError) as error:
        _fail(str(error), 2)
    return settings


def _fail(text: str, code: int) -> "typer.Exit":
    typer.echo(text, err=True)
    raise typer.Exit(code)
