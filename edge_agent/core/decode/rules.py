"""What a topic's settings come to for a decoder. The defaults are those of a topic that sets nothing."""

from typing import NamedTuple

from edge_agent.config import Topic
from edge_agent.core.decode.places import Places, places_of
from edge_agent.core.decode.source_quality import QualityCodes
from edge_agent.core.decode.times import TimeUnit
from edge_agent.core.decode.values import Conversion


class Rules(NamedTuple):
    """Where a payload keeps what, and how it is read."""

    convert: Conversion = Conversion()
    places: Places = Places()
    time_unit: TimeUnit = "auto"
    quality_codes: QualityCodes | None = None


PLAIN = Rules()
COUNTING = Rules(Conversion(booleans="number"))  # of formats that have a type of their own for booleans


def rules_of(topic: Topic, usual: Rules) -> Rules:
    """The topic's; `usual`: its format's, for what it does not set."""
    convert = Conversion(
        booleans=topic.booleans or usual.convert.booleans,
        numbers_in_text=topic.numbers_in_text,
        decimal_comma=topic.decimal_comma,
        states=topic.states,
        texts=topic.texts,
        nulls=topic.nulls,
    )
    places = usual.places if topic.fields is None else places_of(topic.fields.model_dump())
    return Rules(convert, places, topic.time_unit, topic.quality_codes)
