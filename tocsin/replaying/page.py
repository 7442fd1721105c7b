"""The picture as a web page that needs nothing else: with the counts of qualities and the alarms as tables."""

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np

from models.contract.quality import label
from tocsin.replaying.picture import about, draw
from tocsin.replaying.recording import View

_DPI = 150  # of the picture: sharp on fine screens
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 24px auto; max-width: 1600px;
  padding: 0 16px; }
img { width: 100%; height: auto; }
table { border-collapse: collapse; margin: 8px 0 32px; }
th, td { text-align: left; padding: 3px 18px 3px 0; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


def page(view: View) -> str:
    """HTML, UTF-8. No script, nothing from elsewhere."""
    name = f"{view.site} / {view.asset}"
    picture = base64.b64encode(draw(view, _DPI)).decode()
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(name)}</title>
<style>{_STYLE}</style>
<img alt="{escape(name)}: {escape(about(view))}" src="data:image/png;base64,{picture}">
<h2>Quality</h2>
{_qualities(view)}
<h2>Alarms</h2>
{_alarms(view)}
</html>
"""


def _qualities(view: View) -> str:
    counts = [Counter(channel.quality.tolist()) for channel in view.channels]
    codes = sorted(set().union(*counts))
    head = ["channel", "unit", "readings", *(label(code) for code in codes), "lowest", "highest"]
    rows = []
    for channel, count in zip(view.channels, counts, strict=True):
        low, high = (f"{extreme(channel.value):.6g}" for extreme in (np.min, np.max))
        marks = [f"{count[code]:,}" if count[code] else "" for code in codes]
        rows.append([channel.name, channel.unit, f"{len(channel.value):,}", *marks, low, high])
    return _table(head, rows, numbers=range(2, len(head)))


def _alarms(view: View) -> str:
    if not view.spans:
        return "<p>None.</p>"
    rows = []
    for span in view.spans:
        is_whole = span.opened_ns is not None and span.closed_ns is not None
        lasted = f"{((span.closed_ns or 0) - (span.opened_ns or 0)) / 1e9:,.0f}" if is_whole else ""
        opened, closed = _time(span.opened_ns, "before"), _time(span.closed_ns, "still open")
        rows.append([span.code, opened, closed, lasted, f"{span.severity:g}", span.message])
    head = ["model", "opened (UTC)", "closed (UTC)", "lasted, s", "severity", "why"]
    return _table(head, rows, numbers=range(3, 5))


def _time(time_ns: int | None, otherwise: str) -> str:
    return otherwise if time_ns is None else f"{datetime.fromtimestamp(time_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: range) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        marked = (f'<{tag} class="number">' if at in numbers else f"<{tag}>" for at in range(len(cells)))
        return "<tr>" + "".join(f"{open_}{escape(c)}</{tag}>" for open_, c in zip(marked, cells, strict=True)) + "</tr>"

    return "\n".join(["<table>", line("th", head), *(line("td", row) for row in rows), "</table>"])
