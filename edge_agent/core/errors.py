"""Errors whose type says what to do."""

from models.manifest import BundleError


class DecodeError(ValueError):
    """The payload can never be read: set it aside as a dead letter, with `reason` (a counter's label) and the text."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class StartError(RuntimeError):
    """The agent cannot start as configured; a person is needed."""


class NowhereError(BundleError):
    """The model runs on none of the configured providers, and the CPU is none of them: mend the machine, restart."""


class ModelFailedError(RuntimeError):
    """A loaded model cannot score: take it out of service. The text says why, and what helps."""
