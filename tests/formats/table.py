"""The table of cases of all formats: what drives their tests, and where the fuzzer's seeds come from."""

import orjson

from tests.formats import binary_cases, json_cases, line_cases, senml_cases, setting_cases, text_cases
from tests.formats.binary_cases import COMPRESSORS, ENCODERS
from tests.formats.case import Case, topic

# The content of JSON's cases in each format of the same shapes, and in each compression.
_SAME = [
    Case(topic(format_, compression), compress(encode(orjson.loads(text))), channel, expected)
    for text, channel, expected in json_cases.READ
    for format_, encode in ENCODERS.items()
    for compression, compress in COMPRESSORS.items()
]

CASES: list[Case] = [
    *json_cases.CASES,
    *binary_cases.CASES,
    *senml_cases.CASES,
    *line_cases.CASES,
    *setting_cases.CASES,
    *text_cases.CASES,
    *_SAME,
]
READ = [case for case in CASES if not isinstance(case.expected, str)]
REFUSED = [case for case in CASES if isinstance(case.expected, str)]
