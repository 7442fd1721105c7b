"""The doctor: from messages heard for a while to findings and a draft of the configuration. START HERE.

    messages ─▶ heard ─▶ formats ─▶ templates ─▶ trial ─▶ findings ─▶ report
                counts,  which      topics in    a real             └▶ draft (TOML)
                samples  decoder,   groups       Intake
                         fields

Pure: what was heard goes in, text comes out. The samples are decoded by the agent's own decoders and its own intake
with the very topics of the draft, so that what the doctor says is what the agent will do.
"""

from typing import NamedTuple

from edge_agent.core.doctor.findings import Finding, findings_of
from edge_agent.core.doctor.formats import Guess, guess_format
from edge_agent.core.doctor.heard import Heard, Log, TopicLog
from edge_agent.core.doctor.templates import Group, Groups, group_topics
from edge_agent.core.doctor.trial import ChannelLog, Trial, try_out

__all__ = ["Diagnosis", "Finding", "Group", "Guess", "Heard", "Log", "TopicLog", "Trial", "diagnose"]


class Diagnosis(NamedTuple):
    """Everything that was found out. `findings`: the worst first."""

    log: Log
    guesses: dict[str, Guess]  # by topic
    groups: Groups
    trial: Trial
    findings: list[Finding]

    def unit(self, channel: ChannelLog) -> str:
        """As payloads say it; empty: they do not."""
        said = [self.guesses[topic].units for topic in sorted(channel.topics)]
        return next((unit for units in said if (unit := units.get(channel.key[1], units.get("", "")))), "")


def diagnose(log: Log) -> Diagnosis:
    """What was heard, examined."""
    guesses = {topic: guess_format(one) for topic, one in log.topics.items()}
    groups = group_topics({topic: guess.reading for topic, guess in guesses.items() if guess.reading is not None})
    trial = try_out(log, groups)
    return Diagnosis(log, guesses, groups, trial, findings_of(log, guesses, groups, trial))
