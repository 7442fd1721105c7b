"""The commands of the model kit: look into a bundle and sign it, train one, score the kit on public benchmarks."""

import typer

from models.cli_bundle import add_commands
from models.cli_evaluate import evaluate
from models.cli_train import print_recipe, train

app = typer.Typer(no_args_is_help=True, help="Inspect, sign, train and evaluate models.")
app.add_typer(train, name="train")
app.command("recipe")(print_recipe)
app.add_typer(evaluate, name="evaluate")
add_commands(app)
