"""What a host publishes: its own state, and the request for births."""

import json

from edge_agent.core.sparkplug.topic import NAMESPACE
from edge_agent.core.sparkplug.wire import Payload

_BOOLEAN = 11


def rebirth(time_ms: int) -> bytes:
    """The command to an edge node to send its births anew."""
    payload = Payload(timestamp=time_ms)
    payload.metrics.add(name="Node Control/Rebirth", timestamp=time_ms, datatype=_BOOLEAN, boolean_value=True)
    content: bytes = payload.SerializeToString()
    return content


class HostState:
    """Says whether a host application is there, retained at QoS 1: edge nodes may wait for it.

    The will of a connection and the birth after it carry the same time, so that a late will is known to be old.
    """

    def __init__(self, host_id: str) -> None:
        self.topic = f"{NAMESPACE}/STATE/{host_id}"
        self.time_ms = 0  # of the present connection

    def payload(self, *, is_online: bool) -> bytes:
        """JSON."""
        return json.dumps({"online": is_online, "timestamp": self.time_ms}, separators=(",", ":")).encode()

    @staticmethod
    def says_offline(payload: bytes) -> bool:
        """Whether somebody says that the host is away; it must say at once that it is not."""
        try:
            content = json.loads(payload)
        except (ValueError, RecursionError):
            return False
        return isinstance(content, dict) and content.get("online") is False
