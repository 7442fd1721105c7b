"""Hot swap in a real agent under load: the file is replaced, SIGHUP, and each window is scored once."""

import signal
import time
from pathlib import Path

from tests import swaps
from tests.agents import edge, eventually
from tests.servers import Mosquitto
from tests.swaps import Load, Swapped, judged, swap, write_version

ASSETS, RATE_HZ = 5, 100.0


def swapped(folder: Path, port: int, times: int, kills: frozenset[int]) -> Swapped:
    """Swap so often under load; kill the agent right after the signal of the swaps in `kills`."""
    versions, bundle = (folder / "1.bundle", folder / "2.bundle"), folder / "model.bundle"
    for number, path in enumerate(versions, 1):
        write_version(path, str(number))
    bundle.write_bytes(versions[0].read_bytes())
    period_s = swaps.PERIOD_MS / 1000
    with edge(folder, port, models=[bundle], extra=swaps.SMALL_BATCHES, period_s=period_s) as agent:
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        with Load(port, ASSETS, RATE_HZ) as load:
            lives = 1
            for number in range(1, times + 1):
                if number in kills:
                    bundle.write_bytes(versions[number % 2].read_bytes())
                    agent.signal(signal.SIGHUP)
                    time.sleep(0.02 * number)  # later each time: while loading, in the journal, in the pipeline
                    agent.kill()
                    agent.start()
                    lives += 1
                    eventually(lambda n=lives: agent.log.read_text().count("started") >= n, "agent up again")  # type: ignore[misc]
                else:
                    swap(agent, versions, number, bundle)
                time.sleep(0.05)
        expected = ASSETS * (load.frames - swaps.WINDOW)
        eventually(lambda: sum(swaps.scored(folder)[0].values()) >= expected, f"{expected} windows", every_s=0.2)
        assert agent.stop() == 0
    return judged(folder, ASSETS, load.frames)


def test_swaps_under_load_lose_no_window_and_score_none_twice(tmp_path: Path, broker: Mosquitto) -> None:
    found = swapped(tmp_path, broker.port, 6, frozenset())
    assert (found.lost, found.twice) == (0, 0)
    assert min(found.by_version["1"], found.by_version["2"]) > ASSETS * swaps.WINDOW


def test_an_agent_that_is_killed_amid_swaps_loses_no_window_and_scores_none_twice(
    tmp_path: Path, broker: Mosquitto
) -> None:
    found = swapped(tmp_path, broker.port, 3, frozenset({1, 3}))
    assert (found.lost, found.twice) == (0, 0)
    assert found.windows > ASSETS * swaps.WINDOW
