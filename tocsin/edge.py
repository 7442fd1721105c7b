"""`tocsin edge`: the agent's commands, and `replay`, which reads recorded files as the plant's replayer does."""

from edge_agent.cli import app
from tocsin.edge_replay import replay

__all__ = ["app"]

app.command()(replay)
