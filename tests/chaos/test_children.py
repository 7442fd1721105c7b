"""Children die with the harness, are restarted when they end by themselves, and the small disk fills and empties."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents import eventually
from tests.chaos import clock
from tests.chaos.children import Child, SmallDisk

_ROOT = Path(__file__).parents[2]
_SLEEP = ["sleep", "1000"]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from tests.chaos.children import Child
child = Child("sleeper", ["sh", "-c", "echo $$ > {tmp_path}/pid; exec sleep 1000"], Path("{tmp_path}"))
child.start()
time.sleep(1000)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=_ROOT)
    pid = tmp_path / "pid"
    eventually(lambda: pid.exists() and bool(pid.read_text()), "the child has started")
    parent.kill()
    parent.wait()
    eventually(lambda: not is_running(int(pid.read_text())), "the child is gone")


def test_a_kill_tells_whether_it_met_a_running_process(tmp_path: Path) -> None:
    child = Child("sleeper", _SLEEP, tmp_path)
    assert not child.kill()
    child.start()
    assert child.kill()
    assert not child.kill()


def test_a_child_that_ends_by_itself_is_counted_and_restarted(tmp_path: Path) -> None:
    async def check() -> None:
        child = Child("failing", ["false"], tmp_path)
        child.start()
        keeper = asyncio.create_task(child.keep())
        async with asyncio.timeout(20):
            while child.ended[1] < 2:
                await asyncio.sleep(0.02)
        keeper.cancel()
        child.kill()

    asyncio.run(check())


def test_sigterm_waits_for_the_end(tmp_path: Path) -> None:
    child = Child("sleeper", _SLEEP, tmp_path)
    child.start()
    assert asyncio.run(child.terminate())
    assert not child.kill()


def test_the_small_disk_fills_up_and_empties_where_it_can_be_mounted(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "disk", 1024 * 1024)
    more = disk.folder / "more"
    try:
        if disk.is_mounted:
            disk.fill()
            with pytest.raises(OSError, match="No space"):
                more.write_bytes(b"x" * 4096)
            disk.empty()
        more.write_bytes(b"x" * 4096)
    finally:
        disk.close()
    assert not disk.is_mounted


def test_a_bent_clock_follows_its_file_and_the_monotonic_one_does_not(tmp_path: Path) -> None:
    offset = tmp_path / "clock"
    clock.set_offset(offset, 0)
    code = f"""
import sys, time
from pathlib import Path
true_ns = time.time_ns
from tests.chaos import clock
clock.bend(Path("{offset}"))
for line in sys.stdin:
    time.sleep(0.1)
    print(round((time.time_ns() - true_ns()) / 1e9), round(time.time() - true_ns() / 1e9), flush=True)
"""
    reader = subprocess.Popen(
        [sys.executable, "-c", code], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    for offset_s in (0, 3600, -86_400):
        clock.set_offset(offset, offset_s * 1_000_000_000)
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline().split() == [str(offset_s), str(offset_s)]
    reader.send_signal(signal.SIGKILL)
    reader.communicate()
