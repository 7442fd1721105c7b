"""The shift report: which machine to look at first, and why.

    store ──make──▶ Sources (plain rows) ──▶ Report (what is known, in numbers) ──▶ Document (words, tables, curves)
                                                                                     ├──▶ Markdown
                                                                                     └──▶ HTML

Rules
1. No clock and no zone of its own: the span, the time zone and what work costs are arguments.
2. The store is asked for aggregates, never for raw readings: 10,000 channels over a shift are a matter of seconds.
3. Every figure that decides something is explained by a sentence beside it.
4. Names and messages come from machines: `plain`, and the renderers' escaping, stand between them and a screen.
"""
