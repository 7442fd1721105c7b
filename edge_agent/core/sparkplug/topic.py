"""The topics of Sparkplug B: `spBv1.0/<group>/<kind>/<node>[/<device>]`."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

NAMESPACE = "spBv1.0"
NODE_KINDS, DEVICE_KINDS = ("NBIRTH", "NDATA", "NDEATH"), ("DBIRTH", "DDATA", "DDEATH")
_ANY = "+"
AssetParts = Literal["device", "node.device", "group.node.device"]
_COUNTS: dict[str, int] = {"device": 1, "node.device": 2, "group.node.device": 3}


class Place(NamedTuple):
    """Who sends, and what. `device` None: the node itself."""

    group: str
    kind: str
    node: str
    device: str | None

    def asset(self, parts: AssetParts) -> str:
        """The asset's name: the last levels; of the node itself, without a device."""
        last = 1 if self.device is None else 0
        names = [self.group, self.node] if self.device is None else [self.group, self.node, self.device]
        return ".".join(names[-max(1, _COUNTS[parts] - last) :])


class Settings(NamedTuple):
    """What a [[topics]] entry sets beyond its template."""

    assets: AssetParts = "device"
    reorder_ns: int = 5_000_000_000  # how long missing messages are waited for, before a rebirth is asked for
    states: Mapping[str, float] = {}  # texts that stand for numbers


class SparkplugTemplate(NamedTuple):
    """Which groups and nodes: a name, or + for all."""

    group: str
    node: str

    @classmethod
    def parse(cls, template: str) -> "SparkplugTemplate":
        """Raises ValueError."""
        match template.split("/"):
            case [space, group, "#"]:
                node = _ANY
            case [space, group, "+", node, "#"]:
                pass
            case _:
                space = group = node = ""
        if space != NAMESPACE or not all(name == _ANY or _is_name(name) for name in (group, node)):
            msg = (
                f'template {template!r}: with format = "sparkplug-b" allowed are "spBv1.0/<group>/#", or '
                '"spBv1.0/<group>/+/<node>/#" for one edge node; + instead of a name: all of them'
            )
            raise ValueError(msg)
        return cls(group, node)

    @property
    def filters(self) -> list[str]:
        """What to subscribe to: what edge nodes send, and not the commands to them."""
        of_nodes = [f"{NAMESPACE}/{self.group}/{kind}/{self.node}" for kind in NODE_KINDS]
        return of_nodes + [f"{NAMESPACE}/{self.group}/{kind}/{self.node}/+" for kind in DEVICE_KINDS]

    def read(self, topic: str) -> Place | None:
        """Where a topic belongs, or None when it does not fit."""
        match topic.split("/"):
            case [space, group, kind, node] if kind in NODE_KINDS:
                place = Place(group, kind, node, None)
            case [space, group, kind, node, device] if kind in DEVICE_KINDS and device:
                place = Place(group, kind, node, device)
            case _:
                return None
        is_mine = space == NAMESPACE and self.group in {_ANY, group} and self.node in {_ANY, node}
        return place if is_mine and group and node else None


def _is_name(name: str) -> bool:
    return bool(name) and not set(name) & set("+#/{}")
