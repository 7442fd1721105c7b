"""Topics: what to subscribe to, what its levels mean, and how its payloads are read."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_agent.config.base import Strict
from edge_agent.core.sparkplug.topic import AssetParts, SparkplugTemplate
from edge_agent.core.topics import TemplateError, TopicTemplate

SampleType = Literal[
    "<i1", "<i2", "<i4", "<u1", "<u2", "<u4", "<f4", "<f8", ">i1", ">i2", ">i4", ">u1", ">u2", ">u4", ">f4", ">f8"
]


Path = Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)*$")]
Paths = Path | Annotated[tuple[Path, ...], Field(min_length=1)]  # several: the first that leads to something holds

# Settings beyond template, format and compression, and the formats that take them.
_CONTENT = frozenset({"json", "msgpack", "cbor"})
_TEXTUAL = _CONTENT | {"senml-json", "senml-cbor", "influx-line", "text"}
_TAKEN_BY = (
    {"fields": _CONTENT, "nulls": _CONTENT, "quality_codes": _CONTENT, "time_unit": _CONTENT | {"influx-line"}}
    | dict.fromkeys(("booleans", "numbers_in_text", "decimal_comma", "texts"), _TEXTUAL)
    | {"states": _TEXTUAL | {"sparkplug-b"}}
    | dict.fromkeys(("assets", "reorder_timeout_s"), frozenset({"sparkplug-b"}))
    | dict.fromkeys(("dtype", "scale", "offset", "rate_hz"), frozenset({"raw"}))
)


class Fields(Strict):
    """Where a payload keeps what, when it is of no usual shape: dotted paths, from each item of `items` on."""

    items: Path | None = Field(None, description="a list; `*` within the path is each of a list on the way")
    time: Paths | None = None
    value: Paths | None = None
    values: Paths | None = Field(None, description="a column of values, or an object whose keys are channels")
    dt: Paths | None = Field(None, description="of a column: seconds from one value to the next")
    channel: Paths | None = None
    asset: Paths | None = None
    quality: Paths | None = None


class Topic(Strict):
    """Which topics to subscribe to, and what their levels mean: `factory/{line}/{asset}/{channel}`.

    A payload with many channels needs no {channel}; then its keys name them.
    """

    template: str
    format: Literal[
        "json", "msgpack", "cbor", "senml-json", "senml-cbor", "influx-line", "text", "raw", "sparkplug-b"
    ] = "json"
    compression: Literal["none", "gzip", "zstd"] = "none"
    fields: Fields | None = Field(None, description="where the payload keeps what, if not under the usual keys")
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = Field("auto", description="auto: told by a number's size")
    quality_codes: Literal["opc-ua", "opc-classic"] | None = Field(
        None, description="what numbers in fields.quality are"
    )
    numbers_in_text: bool = Field(False, description="of format text always")
    decimal_comma: bool = Field(False, description="in numbers in text: 21,5")
    booleans: Literal["number", "refuse"] | None = Field(None, description="unset: what is usual for the format")
    nulls: Literal["refuse", "skip"] = Field("refuse", description="skip: leaves this value out, the message counts")
    states: dict[str, float] = Field({}, description="texts that stand for numbers")
    texts: Literal["refuse", "skip"] = Field("refuse", description="all other texts")
    dtype: SampleType | None = Field(None, description="of raw samples, as numpy writes it: byte order, kind, bytes")
    scale: float = 1.0
    offset: float = 0.0
    rate_hz: float | None = Field(None, ge=0.001, le=1e9, description="raw samples a second")
    assets: AssetParts = Field("device", description="what names an asset of Sparkplug; of a node itself: its name")
    reorder_timeout_s: float = Field(5.0, gt=0, le=3600, description="then missing messages are given up")

    @model_validator(mode="after")
    def _template(self) -> "Topic":
        if self.format == "sparkplug-b":
            SparkplugTemplate.parse(self.template)
            return self
        try:
            TopicTemplate.parse(self.template)
        except TemplateError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _settings_fit_the_format(self) -> "Topic":
        for name, formats in _TAKEN_BY.items():
            if self.format not in formats and getattr(self, name) != type(self).model_fields[name].default:
                texts = " or ".join(f'"{text}"' for text in sorted(formats))
                msg = f"{name} is for format = {texts}"
                raise ValueError(msg)
        if self.format == "sparkplug-b" and self.compression != "none":
            msg = 'compression is not for format = "sparkplug-b"'
            raise ValueError(msg)
        if self.decimal_comma and not self.numbers_in_text and self.format != "text":
            msg = "decimal_comma needs numbers_in_text = true"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _fields_make_sense(self) -> "Topic":
        if self.fields is not None and self.fields.channel is not None and "{channel}" in self.template:
            msg = f"template {self.template!r} names the channel with {{channel}}; so does fields.channel: take one"
            raise ValueError(msg)
        if self.quality_codes is not None and (self.fields is None or self.fields.quality is None):
            msg = "quality_codes needs fields.quality: where the payload keeps it"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _a_channel_is_named(self) -> "Topic":
        if self.format in {"raw", "text"} and "{channel}" not in self.template:
            msg = f'template {self.template!r}: format = "{self.format}" needs {{channel}}: its payloads name none'
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _raw_is_described(self) -> "Topic":
        if self.format != "raw":
            return self
        if self.dtype is None or self.rate_hz is None:
            msg = 'format = "raw" needs dtype and rate_hz: its payloads do not say what they are'
            raise ValueError(msg)
        if not self.scale:
            msg = "scale 0 leaves nothing of the samples"
            raise ValueError(msg)
        return self
