"""A `Select` as text in the languages that stores speak: one file a language, all pure.

Names and values may hold anything: quotes, backslashes, newlines, any script. A renderer quotes them, so that a
value never becomes a part of the question.
"""

from collections.abc import Callable

from aggregator.core.dialects import flux, influxql, sql
from aggregator.core.select import Select

# language -> what renders it for people; stores add what only they know
RENDERERS: dict[str, Callable[[Select], str]] = {
    "influxql": influxql.render,
    "sql": sql.render,
    "flux": flux.render,
}

# language -> why a text in it is not sent, "" when it only asks
REFUSALS: dict[str, Callable[[str], str]] = {
    "influxql": influxql.refusal,
    "sql": sql.refusal,
    "flux": flux.refusal,
}
