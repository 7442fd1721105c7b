"""Topic templates: what the levels of a sensor's topic mean.

`factory/{line}/{asset}/{channel}` subscribes to `factory/+/+/+` and reads asset and channel from their
levels; other names in braces are labels that are matched and not used. A template without {channel} is
for payloads that name their channels themselves.
"""

import re
from typing import NamedTuple

_FIELD = re.compile(r"\{([a-z_]+)\}")
_LEVEL = re.compile(r"^(?:\{[a-z_]+\}|[^{}+#]+)$")


class TemplateError(ValueError):
    """The template cannot be used; the text says why and what is allowed."""


class TopicTemplate(NamedTuple):
    """A parsed template: the MQTT filter to subscribe to, and the expression that its topics match."""

    filter: str
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, template: str) -> "TopicTemplate":
        """Raises TemplateError."""
        levels = template.split("/")
        for level in levels:
            if not _LEVEL.match(level):
                msg = f"template {template!r}: level {level!r}: allowed are a plain name or one {{name}} a level"
                raise TemplateError(msg)
        names = _FIELD.findall(template)
        if "asset" not in names:
            msg = f"template {template!r}: {{asset}} is missing: it says which machine a reading belongs to"
            raise TemplateError(msg)
        if len(set(names)) < len(names):
            msg = f"template {template!r}: a name stands twice"
            raise TemplateError(msg)
        parts = [f"(?P<{level[1:-1]}>[^/]+)" if level.startswith("{") else re.escape(level) for level in levels]
        return cls("/".join("+" if level.startswith("{") else level for level in levels), re.compile("/".join(parts)))

    def read(self, topic: str) -> tuple[str, str | None] | None:
        """(asset, channel or None) of a topic, or None when the topic does not fit."""
        match = self.pattern.fullmatch(topic)
        if match is None:
            return None
        fields = match.groupdict()
        return fields["asset"], fields.get("channel")
