"""What must hold of every batch that is accepted, whatever is in it: no row is unaccounted for."""

import math

import numpy as np

from aggregator.core.validate import Accepted
from models.contract.batch import Batch, rows
from models.contract.schema import MEASUREMENTS


def assert_accounted(content: Batch, result: Accepted) -> None:
    """Each row is among the points, or refused, or says nothing; and what is among the points, stores can take."""
    told = len(result.refused) + result.unnamed
    assert rows(content) - _silent(content) <= len(result.points) + told
    assert len(result.points) <= rows(content)
    assert told <= rows(content) + _unknown(content)
    assert result.beyond <= told
    assert all(one.reason and len(one.reason) < 400 and len(one.row) <= 1000 for one in result.refused)
    for table in result.points.tables:
        assert ((table.time_ns > 0) & (table.time_ns < 2**63 - 1)).all()
        cells = np.array(list(table.floats.values()))
        assert not np.isinf(cells).any()
        assert table.strings or not np.isnan(cells).all(axis=0).any()
        used = {tag for position in set(table.index.tolist()) for tag in table.tags[position]}
        assert all(0 < len(tag) <= 1000 and "\n" not in tag and not tag.endswith("\\") for tag in used)


def _silent(content: Batch) -> int:
    """Rows of which no field that the schema has, has a value: none of them can be stored, and none is missed."""
    outputs, fields = content.inferences.fields, content.gateway_fields
    columns = [np.frombuffer(outputs[name], "<f8") for name in outputs if name in MEASUREMENTS["inference"].floats]
    inferences = int(np.isnan(columns).all(axis=0).sum()) if columns else len(content.inferences.index) // 4
    cells = [fields[name] for name in fields if name in MEASUREMENTS["gateway"].floats]
    return inferences + (bool(fields) and (not content.gateway_time_ns or all(map(math.isnan, cells))))


def _unknown(content: Batch) -> int:
    """Outputs of models that the schema has not: one refusal each."""
    return sum(name not in MEASUREMENTS["inference"].floats for name in content.inferences.fields)
