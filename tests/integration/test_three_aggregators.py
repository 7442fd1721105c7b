"""Three aggregators on one broker, killed one after the other, while gateways go on sending."""

from pathlib import Path

import pytest

from tests.bench import three


@pytest.mark.usefixtures("mosquitto", "influx1")  # that they are installed; the run has its own
def test_of_three_aggregators_one_after_the_other_is_killed_and_each_row_is_stored_once(tmp_path: Path) -> None:
    outcome = three.run(tmp_path, seconds=6, every_s=2, batches_per_s=60)
    assert outcome.kills == 2
    assert outcome.rows == outcome.batches * three.ROWS + outcome.agent_rows
    assert outcome.batches > three.GATEWAYS
    assert outcome.agent_rows > three.READINGS_PER_S
    assert outcome.without_receipt == 0
    assert (outcome.rows_missing, outcome.rows_duplicated, outcome.rows_different) == (0, 0, 0)
    assert outcome.refused == 0
