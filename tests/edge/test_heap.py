"""Freed memory stays with the process."""

import subprocess
import sys

SCRIPT = """
import resource, sys
import numpy as np
if sys.argv[1] == "kept":
    from edge_agent.adapters.heap import keep_freed_memory
    assert keep_freed_memory()
x = np.zeros(10_000)
for _ in range(50):
    [x + i for i in range(20)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    [x + i for i in range(20)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", SCRIPT, how], check=True, capture_output=True).stdout)


def test_arrays_that_come_and_go_are_not_mapped_anew_each_time() -> None:
    assert faults("kept") < 100
    assert faults("default") > 10_000
