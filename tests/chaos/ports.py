"""Ports for servers that die and come back: none that the system may lend to a client meanwhile."""

import socket
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000


def quiet_ports(count: int) -> list[int]:
    """Distinct TCP ports of the loopback, free now and below those that the system lends to clients."""
    highest = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    found: list[int] = []
    random = SystemRandom()  # two runs at once must not choose the same
    with ExitStack() as stack:
        while len(found) < count:
            port = random.randrange(_LOWEST, highest)
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found
