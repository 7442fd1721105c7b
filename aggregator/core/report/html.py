"""A page as one HTML file: no script, nothing from elsewhere, readable on paper and in dark rooms."""

import math
from collections.abc import Iterator
from html import escape

from aggregator.core.report.content import Curve
from aggregator.core.report.document import Cell, Document, Mark, Points, Spark, Table, height
from aggregator.core.report.words import figure

_WIDTH, _HEIGHT = 120.0, 24.0
_SHORT = 24  # characters
_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --dim: #666; --line: #d5d5d5; --stripe: #f6f6f4;
  --bad: #b3261e; --warn: #8a5a00; --good: #1e6b33; --curve: #2458a6 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e2dd; --paper: #161719; --dim: #9b9a96; --line: #3a3b3e;
  --stripe: #1e1f22; --bad: #ff8a80; --warn: #f2bd5c; --good: #7fcf95; --curve: #86b3f5 } }
@page { size: A4 landscape; margin: 12mm }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 1500px; padding: 1.5rem }
h1 { font-size: 1.6em; margin: 0 } h2 { font-size: 1.15em; margin: 1.8em 0 .5em }
.headline { font-size: 1.2em; font-weight: 600 } .note { color: var(--dim); font-size: .88em; max-width: 75em }
.wide { overflow-x: auto } table { border-collapse: collapse }
th { text-align: left; color: var(--dim); font-weight: 600 }
th, td { padding: .28em .7em; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere }
th, .mark, .short { white-space: nowrap } tbody tr:nth-child(even) { background: var(--stripe) }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.mark { font-weight: 600 } .bad { color: var(--bad) } .warn { color: var(--warn) } .good { color: var(--good) }
.dim { color: var(--dim) } li { margin: .2em 0 } ol > li > b { font-size: 1.05em }
svg { display: block } polyline { fill: none; stroke: var(--curve); stroke-width: 1.5; stroke-linejoin: round;
  stroke-linecap: round }
circle { fill: var(--curve) }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --dim: #444; --line: #999; --stripe: #fff;
  --bad: #b3261e; --warn: #704800; --good: #1e6b33; --curve: #000 }
  body { font-size: 8pt; padding: 0; max-width: none } .wide { overflow: visible } th, td { padding: .2em .5em }
  svg { width: 80px; height: 16px } tr, li { break-inside: avoid } h2 { break-after: avoid } }
"""


def to_html(document: Document) -> str:
    """The file's text, in UTF-8. Its policy forbids whatever it does not hold itself, scripts above all."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    title = escape(document.title)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>"
    for place, sentence in enumerate(document.lead):
        kind = ' class="headline"' if place == 1 else ""
        yield f"<p{kind}>{escape(sentence)}</p>"
    yield "</header>\n<main>"
    for section in document.sections:
        yield f"<section>\n<h2>{escape(section.title)}</h2>"
        for block in section.blocks:
            if isinstance(block, Table):
                yield from _table(block)
            elif isinstance(block, Points):
                yield from _points(block)
            else:
                yield f"<p>{escape(block)}</p>"
        if section.note:
            yield f'<p class="note">{escape(section.note)}</p>'
        yield "</section>"
    yield "</main>\n</body>\n</html>"


def _points(block: Points) -> Iterator[str]:
    yield "<ol>"
    for point, reasons in block.points:
        items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
        yield f"<li><b>{escape(point)}</b>{f'<ul>{items}</ul>' if items else ''}</li>"
    yield "</ol>"


def _table(table: Table) -> Iterator[str]:
    kinds = [' class="number"' if column in table.numbers else "" for column in table.columns]
    heads = "".join(f"<th{kind}>{escape(column)}</th>" for column, kind in zip(table.columns, kinds, strict=True))
    yield f'<div class="wide">\n<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>'
    for row in table.rows:
        cells = "".join(f"<td{kind or _short(cell)}>{_cell(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        yield f"<tr>{cells}</tr>"
    yield "</tbody>\n</table>\n</div>"
    if table.left_out:
        yield f'<p class="note">and {table.left_out:,} more</p>'


def _short(cell: Cell) -> str:
    """A name or a time is not broken; a sentence, or a name without end, is."""
    return ' class="short"' if isinstance(cell, str) and len(cell) <= _SHORT else ""


def _cell(cell: Cell) -> str:
    if isinstance(cell, Spark):
        return spark(cell.values, cell.low, cell.high)
    if isinstance(cell, Mark):
        return f'<span class="mark {cell.level}">{escape(cell.words)}</span>'
    return escape(cell)


def spark(values: Curve, low: float, high: float) -> str:
    """A curve as inline SVG: a line for each stretch with values, a dot at its newest one."""
    known = [(at, value) for at, value in enumerate(values) if math.isfinite(value)]
    if not known:
        return ""
    low, high = min(low, *(value for _, value in known)), max(high, *(value for _, value in known))
    step = (_WIDTH - 4) / max(len(values) - 1, 1)
    places = [(at, 2 + at * step, _HEIGHT - 2 - height(value, low, high) * (_HEIGHT - 4)) for at, value in known]
    stretches: list[list[str]] = []
    for position, (at, x, y) in enumerate(places):
        if position == 0 or places[position - 1][0] != at - 1:
            stretches.append([])
        stretches[-1].append(f"{x:.1f},{y:.1f}")
    # a stretch of one interval is a line to itself, which round caps would show as a dot
    lines = "".join(
        f'<polyline points="{" ".join(points if len(points) > 1 else points * 2)}"/>' for points in stretches
    )
    _, x, y = places[-1]
    words = f"from {figure(known[0][1])} to {figure(known[-1][1])}"
    return (
        f'<svg width="{_WIDTH:.0f}" height="{_HEIGHT:.0f}" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="{escape(words)}">{lines}<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/></svg>'
    )
