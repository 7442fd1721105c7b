"""Runs the edge agent with a clock that can be made to jump: `python -m tests.chaos.clock OFFSET_FILE CONFIG`.

What the file holds, an integer of nanoseconds, is added to `time.time` and `time.time_ns` before anything of the
agent is imported. Monotonic clocks are left alone, as a kernel leaves them when someone sets the time.
"""

import sys
import time
from pathlib import Path

_LOOK_EVERY_S = 0.05


def bend(path: Path) -> None:
    """Replace the clocks of this process."""
    true_time_ns = time.time_ns
    offset_ns, look_again_s = 0, 0.0

    def time_ns() -> int:
        nonlocal offset_ns, look_again_s
        now_s = time.monotonic()
        if now_s >= look_again_s:
            offset_ns, look_again_s = int(path.read_text()), now_s + _LOOK_EVERY_S
        return true_time_ns() + offset_ns

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


def set_offset(path: Path, offset_ns: int) -> None:
    """In one step, so that a reader sees the old or the new one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(str(offset_ns))
    fresh.replace(path)


def main() -> None:
    """Bend the clocks, then run the agent."""
    bend(Path(sys.argv[1]))
    from edge_agent.cli import app

    sys.argv = ["edge", "run", sys.argv[2]]
    app()


if __name__ == "__main__":
    main()
