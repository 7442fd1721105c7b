"""Runs one `tocsin` command that ends when its parent does: `python -m tocsin.demo.tethered PARENT_PID COMMAND …`.

The kernel sends SIGTERM to this process when its parent dies, even by `kill -9`; so nothing outlives the demo.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Tether this process, then run the command. Elsewhere than on Linux it only ends when told to."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the tether held
        sys.exit(1)
    sys.argv = ["tocsin", *sys.argv[2:]]
    from tocsin.cli import main as tocsin  # noqa: PLC0415 - the tether comes first: imports take a while

    tocsin()


if __name__ == "__main__":
    main()
