"""`tocsin model`: the model kit, and the demo's own models made from the simulated plant."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from models.cli import app
from tocsin.model_fetch import fetch
from tocsin.model_score import score

__all__ = ["app"]

_SEED = 20_240  # any other than the demo's: a model must not have seen the machines it watches

app.command()(score)
app.command()(fetch)


@app.command()
def zoo(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A folder; default: models/zoo.")] = None,
    seconds: Annotated[float, typer.Option(min=60, help="Healthy running time for each kind of machine.")] = 7200.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = _SEED,
) -> None:
    """Build the small models of the demo's plant from healthy simulated machines."""
    from models.training.zoo import HealthyRun, build_zoo  # noqa: PLC0415 - the extra may be missing
    from tocsin.plant.training import KINDS, healthy_runs  # noqa: PLC0415 - with it

    folder = out or Path(str(resources.files("models"))) / "zoo"
    runs: dict[str, HealthyRun] = {kind: HealthyRun(*healthy_runs(kind, seconds, seed)) for kind in KINDS}
    for path in build_zoo(folder, runs):
        typer.echo(f"{path}: {path.stat().st_size:,} bytes")
