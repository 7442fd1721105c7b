"""Plain text: the whole payload is one value, with or without blanks around it: `21.5`, `21,5`, `RUNNING`, `on`.

A number needs no `numbers_in_text` here. With `booleans = "number"` true and on count as 1, false and off as 0, in
capitals or not; `states` go before. The payload names no time.
"""

from edge_agent.core.decode.rules import PLAIN, Rules
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded, Value
from models.contract.quality import Quality

_MAX_CHARACTERS = 256
_BOOLEANS = {"true": True, "on": True, "false": False, "off": False}


def decode_text(payload: bytes, asset: str, channel: str | None, _arrival_ns: int, rules: Rules = PLAIN) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    if channel is None:
        raise DecodeError("channel", "plain text needs a topic that names the channel")
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError as error:
        raise DecodeError("text", f"no UTF-8: {error.reason} at byte {error.start}") from error
    if not 0 < len(text) <= _MAX_CHARACTERS:
        raise DecodeError("shape", f"{len(text)} characters: one value of 1 to {_MAX_CHARACTERS} is needed")
    convert = rules.convert._replace(numbers_in_text=True)
    raw: str | bool = text
    if convert.booleans == "number" and text not in convert.states:
        raw = _BOOLEANS.get(text.lower(), text)
    value = convert.number(raw, channel)
    if value is None:
        return Decoded([], [], is_timed=True, skipped=1)
    return Decoded([Value((asset, channel), None, value, Quality.GOOD)], [], is_timed=False)
