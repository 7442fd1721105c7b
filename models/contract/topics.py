"""MQTT topics between a gateway and the aggregators: `tocsin/v1/<site>/<gateway>/<kind>`."""

import re
from typing import Literal

PREFIX = "tocsin/v1"
Kind = Literal["batch", "receipt", "state", "command", "reply"]
KINDS: tuple[Kind, ...] = ("batch", "receipt", "state", "command", "reply")

# A batch's user property: the seq of the oldest batch that the gateway still holds without a receipt.
OLDEST = "oldest"

# One topic level, safe in every broker, in a tag and in a file name.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_NAME = re.compile(NAME_PATTERN)
_CHANNEL_CHARS = 500  # asset and channel together have room for twice as many


def topic(site: str, gateway: str, kind: Kind) -> str:
    """The topic of one kind for one gateway. Raises ValueError when a name is no safe topic level."""
    for label, name in (("site", site), ("gateway", gateway)):
        if not _NAME.fullmatch(name):
            msg = f"{label} {name!r}: allowed are 1 to 64 of A-Z a-z 0-9 _ . -, a letter or digit first"
            raise ValueError(msg)
    return f"{PREFIX}/{site}/{gateway}/{kind}"


def subscription(kind: Kind, *, share: str | None = None) -> str:
    """The filter for one kind of all gateways, optionally as a shared subscription of the group `share`."""
    everyone = f"{PREFIX}/+/+/{kind}"
    return f"$share/{share}/{everyone}" if share else everyone


def parse(name: str) -> tuple[str, str, Kind] | None:
    """(site, gateway, kind) of a topic, or None when it is not one of the contract's."""
    parts = name.split("/")
    if len(parts) != len(PREFIX.split("/")) + 3 or not name.startswith(PREFIX + "/"):
        return None
    site, gateway, kind = parts[-3:]
    if not (_NAME.fullmatch(site) and _NAME.fullmatch(gateway)):
        return None
    return next(((site, gateway, known) for known in KINDS if known == kind), None)


def is_channel_name(name: str) -> bool:
    """Whether a channel may be called so: any script, blanks and signs within, but nothing that cannot be printed."""
    return 0 < len(name) <= _CHANNEL_CHARS and name.isprintable() and name == name.strip()


def clean_name(name: str) -> str:
    """What earlier versions made of a column's name: 'Volume Flow RateRMS' became 'Volume_Flow_RateRMS'."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name.strip()).lstrip("_.-")[:64]
