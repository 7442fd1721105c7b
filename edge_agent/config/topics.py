"""Topics: what to subscribe to, what its levels mean, and how its payloads are read."""

from typing import Literal

from pydantic import Field, model_validator

from edge_agent.config.base import Strict
from edge_agent.core.topics import TemplateError, TopicTemplate

SampleType = Literal[
    "<i1", "<i2", "<i4", "<u1", "<u2", "<u4", "<f4", "<f8", ">i1", ">i2", ">i4", ">u1", ">u2", ">u4", ">f4", ">f8"
]


class Topic(Strict):
    """Which topics to subscribe to, and what their levels mean: `factory/{line}/{asset}/{channel}`.

    A payload with many channels needs no {channel}; then its keys name them.
    """

    template: str
    format: Literal["json", "msgpack", "cbor", "senml-json", "senml-cbor", "influx-line", "raw"] = "json"
    compression: Literal["none", "gzip", "zstd"] = "none"
    dtype: SampleType | None = Field(None, description="of raw samples, as numpy writes it: byte order, kind, bytes")
    scale: float = 1.0
    offset: float = 0.0
    rate_hz: float | None = Field(None, ge=0.001, le=1e9, description="raw samples a second")

    @model_validator(mode="after")
    def _template(self) -> "Topic":
        try:
            TopicTemplate.parse(self.template)
        except TemplateError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _raw_settings(self) -> "Topic":
        if self.format != "raw":
            if (self.dtype, self.scale, self.offset, self.rate_hz) != (None, 1.0, 0.0, None):
                msg = 'dtype, scale, offset and rate_hz are for format = "raw"'
                raise ValueError(msg)
        elif self.dtype is None or self.rate_hz is None:
            msg = 'format = "raw" needs dtype and rate_hz: its payloads do not say what they are'
            raise ValueError(msg)
        elif "{channel}" not in self.template:
            msg = f'template {self.template!r}: format = "raw" needs {{channel}}: its payloads name none'
            raise ValueError(msg)
        elif not self.scale:
            msg = "scale 0 leaves nothing of the samples"
            raise ValueError(msg)
        return self
