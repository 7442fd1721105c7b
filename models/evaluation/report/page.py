"""The page around the pictures."""

from collections.abc import Mapping, Sequence
from html import escape

from models.evaluation.report.charts import Chart

_CSS = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1c2127; --faint: #667; --line: #dde; --card: #f6f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171b; --ink: #e4e7eb; --faint: #9aa3ad; --line: #2b3138; --card: #1b1f25; } }
body { background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 62rem; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p.lead, figcaption, td.key { color: var(--faint); } p { margin: .4rem 0; }
table { border-collapse: collapse; } td { padding: .15rem 1.2rem .15rem 0; vertical-align: top; }
td.key { white-space: nowrap; } td.value { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.warn { border-left: 3px solid #e08a1e; background: var(--card); padding: .5rem .9rem; margin: .6rem 0; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.2rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .8rem; }
figure.wide { grid-column: 1 / -1; } figure svg { width: 100%; height: auto; color: var(--ink); }
figcaption { font-size: .86rem; } figcaption b { color: var(--ink); display: block; font-size: .95rem; }
@media (max-width: 40rem) { .charts { grid-template-columns: minmax(0, 1fr); } }
@media print { figure { break-inside: avoid; } }
"""


def page(
    title: str, lead: str, warnings: Sequence[str], tables: Mapping[str, Mapping[str, str]], charts: Sequence[Chart]
) -> str:
    """HTML, whole: style and pictures are inside, and there is no script. The first table stands above the pictures."""
    first, *rest = tables
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_CSS}</style></head><body>",
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>',
        *(f'<p class="warn">{escape(text)}</p>' for text in warnings),
        _table(first, tables[first]),
        '<h2>Pictures</h2><div class="charts">' if charts else "<div>",
        *(_figure(chart) for chart in charts),
        "</div>",
        *(_table(name, tables[name]) for name in rest),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _table(name: str, rows: Mapping[str, str]) -> str:
    cells = "".join(
        f'<tr><td class="key">{escape(key)}</td><td class="value">{escape(value)}</td></tr>'
        for key, value in rows.items()
    )
    return f"<h2>{escape(name)}</h2><table>{cells}</table>"


def _figure(chart: Chart) -> str:
    kind = "wide" if chart.is_wide else "half"
    caption = f"<figcaption><b>{escape(chart.title)}</b>{escape(chart.caption)}</figcaption>"
    return f'<figure class="{kind}" role="img" aria-label="{escape(chart.title)}">{caption}{chart.svg}</figure>'
