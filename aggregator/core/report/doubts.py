"""How many readings of a channel have which quality, asked only where it matters.

A doubtful reading has a code of 64 or more, so a channel has at most (sum of its codes) / 64 of them. Few channels have
enough to be told of; only their assets are asked code by code.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from aggregator.core.questions import Reads
from aggregator.core.report.intervals import Intervals
from aggregator.core.report.readings import Readings
from aggregator.core.select import Select, Where
from aggregator.core.views import Row, number
from models.contract.quality import UNCERTAIN_FROM, Quality
from models.contract.schema import MEASUREMENTS

TOLD_FROM = 0.01  # share of readings that are not good
_ONE_BY_ONE = 50  # assets; more are cheaper together
_TAGS = MEASUREMENTS["reading"].tags


def fetch_doubts(reader: Reads, span: Intervals, readings: Readings) -> dict[int, list[Row]]:
    """Rows of channels with the `count` of such readings, by code; not of good ones. Raises what `Reader` raises."""
    suspect = np.flatnonzero(readings.code_sums / UNCERTAIN_FROM > TOLD_FROM * readings.totals)
    assets = {readings.channels[at][:2] for at in suspect.tolist()}
    # one that only a later version of the contract knows may be among those seen
    codes = sorted(code for code in readings.codes.union(map(int, Quality)) if code >= UNCERTAIN_FROM)
    codes.sort(key=lambda code: code not in readings.codes)
    question = Select(
        "reading", ("quality",), since_ns=span.since_ns, until_ns=span.until_ns, aggregates=("count",), by=_TAGS
    )
    places = [{"site": site, "asset": asset} for site, asset in sorted(assets)]
    found: dict[int, list[Row]] = {}
    for place in places if len(places) <= _ONE_BY_ONE else [{}]:
        asked = replace(question, tags=place)
        left = _total(reader.select(replace(asked, where=(_any_of(codes),))))
        for code in codes:
            if left <= 0:  # those seen come first: soon
                break
            rows = reader.select(replace(asked, where=(_any_of([code]),)))
            found.setdefault(code, []).extend(rows)
            left -= _total(rows)
    return found


def _any_of(codes: Iterable[int]) -> Where:
    return Where("quality", tuple(map(float, codes)))


def _total(rows: Iterable[Row]) -> float:
    return sum(number(row, "count") for row in rows)
