"""The demo's terminal view. Pure: numbers in, a rich renderable out."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aggregator.core.views import Row, number
from tocsin.demo.metrics import EdgeMetrics

_BAR = 24  # characters for health 100


def view(
    running_s: float, messages_per_s: float, metrics: EdgeMetrics, health: Sequence[Row], alarms: Sequence[Row]
) -> RenderableType:
    """One picture: the flow, each asset's health, what is wrong now."""
    flow = Text.assemble(
        ("Tocsin ", "bold"),
        f"{running_s:5.0f} s   {messages_per_s:4.0f} messages/s   ",
        f"latency p50 {_ms(metrics.latency_p50_ms)}, p99 {_ms(metrics.latency_p99_ms)}   ",
        f"models on {metrics.provider or '-'}",
    )
    return Group(flow, _health(health), _alarms(alarms), Text("Ctrl-C ends the demo and checks every reading.", "dim"))


def _health(rows: Sequence[Row]) -> RenderableType:
    if not rows:
        return Text("\nEach model waits for its first window: 5 s of readings.\n")
    table = Table("asset", "health", "", "anomaly score", box=None, pad_edge=False)
    for row in sorted(rows, key=lambda row: str(row["asset"])):
        health = max(0.0, min(100.0, number(row, "health")))
        colour = "green" if health >= 70 else "yellow" if health >= 50 else "red"
        filled = round(health / 100 * _BAR)
        bar = Text("█" * filled, colour) + Text("░" * (_BAR - filled), "dim")
        table.add_row(str(row["asset"]), bar, f"{health:3.0f} %", f"{number(row, 'anomaly_score'):8.2f}")
    return table


def _alarms(rows: Sequence[Row]) -> RenderableType:
    if not rows:
        return Text("\nNo alarm is open.", "green")
    lines = [Text(f"\n{len(rows)} open alarm{'s' * (len(rows) > 1)}", "bold red")]
    lines += [Text(f"  {row['asset']}: {row['message']}", "red") for row in rows]
    return Group(*lines)


def _ms(latency: float | None) -> str:
    return "-" if latency is None else f"{latency:.0f} ms"
