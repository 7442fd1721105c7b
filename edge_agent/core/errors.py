"""Errors whose type says what to do."""


class DecodeError(ValueError):
    """The payload can never be read: set it aside as a dead letter, with `reason` (a counter's label) and the text."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class StartError(RuntimeError):
    """The agent cannot start as configured; a person is needed."""


class ModelFailedError(RuntimeError):
    """A loaded model cannot score: take it out of service. The text says why, and what helps."""
