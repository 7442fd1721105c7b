"""What a sender says of its values, as OPC does, in Tocsin's quality codes.

true and false; text that begins with good, uncertain or bad ("GoodClamped", "Bad [Non-Specific]"); a status code of
OPC UA, whose severity is the top two bits of 32; or the byte of classic OPC: 192 to 255 good, 64 to 127 uncertain, else
bad. A number tells which of the two it is, except 0: good in OPC UA, bad in classic OPC. So a topic has to say it.
Nothing at all is good, for OPC UA leaves out what is.
"""

from reprlib import repr as brief
from typing import Literal

from edge_agent.core.errors import DecodeError
from models.contract.quality import Quality

QualityCodes = Literal["opc-ua", "opc-classic"]

_BY_SEVERITY = (Quality.GOOD, Quality.UNCERTAIN_SOURCE, Quality.BAD_SOURCE, Quality.BAD_SOURCE)
_BY_CLASSIC = (Quality.BAD_SOURCE, Quality.UNCERTAIN_SOURCE, Quality.BAD_SOURCE, Quality.GOOD)
_BY_WORD = (("good", Quality.GOOD), ("uncertain", Quality.UNCERTAIN_SOURCE), ("bad", Quality.BAD_SOURCE))


def parse_quality(raw: object, codes: QualityCodes | None) -> Quality:
    """`codes`: as what numbers are read, if that is known. Raises DecodeError (`quality`)."""
    if raw is None or isinstance(raw, bool):
        return Quality.BAD_SOURCE if raw is False else Quality.GOOD
    if isinstance(raw, str):
        word = raw.strip().lower()
        for begin, quality in _BY_WORD:
            if word.startswith(begin):
                return quality
        raw = int(word) if len(word) <= 10 and word.isascii() and word.isdecimal() else raw
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if isinstance(raw, int) and -(2**31) <= raw < 2**32:
        code = raw % 2**32  # some write it as a signed number
        if code or codes:
            is_byte = code < 256 and (code or codes == "opc-classic")
            return _BY_CLASSIC[code >> 6] if is_byte else _BY_SEVERITY[code >> 30]
        raise DecodeError(
            "quality", "quality 0 is good in OPC UA and bad in classic OPC: set the topic's quality_codes"
        )
    raise DecodeError(
        "quality", f"quality {brief(raw):.60}: allowed are true, false, good, uncertain, bad and OPC codes"
    )
