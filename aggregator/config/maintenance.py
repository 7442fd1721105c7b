"""What the maintenance plan of a shift report needs to know: costs, crews and windows.

Amounts are in any one currency. What is said of an asset comes from the first rule whose `match` fits its name.
"""

import re
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from aggregator.config.base import Section, refuse

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEKLY = re.compile(r"(daily|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:,(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun))*) (\d\d):(\d\d)")


class AssetCosts(Section):
    """What a failure costs, and what the same work costs before it."""

    match: str = Field(min_length=1)  # * and ? stand for any text; with a / it is held against site/asset
    failure_cost: float = Field(ge=0, allow_inf_nan=False)  # repair, lost production, damage around it
    early_cost: float = Field(ge=0, allow_inf_nan=False)  # the same work in a window, life thrown away included
    hours: float = Field(gt=0, le=10_000)  # of one crew
    needs: str | None = None  # a skill of the crew; None = any crew


class Crew(Section):
    """People who do one job at a time. Two teams are two crews."""

    name: str = Field(min_length=1)
    skills: tuple[str, ...] = ()


class Window(Section):
    """When machines may be worked on."""

    begin: str  # an ISO time, or "Tue,Thu 22:00", or "daily 06:00"
    hours: float = Field(gt=0, le=10_000)
    crews: tuple[str, ...] = ()  # () = all

    @field_validator("begin")
    @classmethod
    def _begin_is_a_time(cls, begin: str) -> str:
        if weekly(begin) is None:
            try:
                datetime.fromisoformat(begin)
            except ValueError:
                msg = f"{begin!r} is no time (allowed: '2026-01-31T22:00', 'Tue 22:00', 'Tue,Thu 22:00', 'daily 22:00')"
                raise ValueError(msg) from None
        return begin


class Maintenance(Section):
    """Without assets and windows, reports come without a plan."""

    timezone: str = "UTC"  # of windows without one of their own, and of the report's times
    currency: str = "EUR"
    horizon_h: float = Field(default=168.0, gt=0, le=8784)  # what does not fail within it is no matter of this plan
    failure_prob_horizon_h: float | None = Field(default=None, gt=0)  # over which the models give `failure_prob`
    assets: tuple[AssetCosts, ...] = ()
    crews: tuple[Crew, ...] = ()
    windows: tuple[Window, ...] = ()
    solver_time_s: float = Field(default=10.0, gt=0, le=600)  # then the best plan so far is taken

    @field_validator("timezone")
    @classmethod
    def _zone_is_known(cls, name: str) -> str:
        zone(name)
        return name

    @model_validator(mode="after")
    def _consistent(self) -> "Maintenance":
        names = [crew.name for crew in self.crews]
        if len(set(names)) < len(names):
            refuse("crews: a name is used twice (two teams with the same skills are two crews with two names)")
        for window in self.windows:
            for name in window.crews:
                if name not in names:
                    refuse(f"windows: crew {name!r} is not among the crews (allowed: {', '.join(names) or 'none yet'})")
        skills = {skill for crew in self.crews for skill in crew.skills}
        for rule in self.assets:
            if rule.needs is not None and rule.needs not in skills:
                known = ", ".join(sorted(skills)) or "none yet"
                refuse(f"assets: {rule.match!r} needs {rule.needs!r}, which no crew has as a skill (allowed: {known})")
        if self.windows and not self.crews:
            refuse('windows need crews: crews = [{ name = "mechanics" }]')
        return self


def weekly(begin: str) -> tuple[tuple[int, ...], int, int] | None:
    """Days (0 = Monday), hour and minute of a weekly pattern; None when it is none."""
    found = _WEEKLY.fullmatch(begin)
    if found is None or int(found[2]) > 23 or int(found[3]) > 59:
        return None
    days = range(7) if found[1] == "daily" else {DAYS.index(day) for day in found[1].split(",")}
    return tuple(sorted(days)), int(found[2]), int(found[3])


def zone(name: str) -> ZoneInfo:
    """Raises ValueError when the name is not in the zone database."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"{name!r} is no time zone (allowed: 'UTC', 'Europe/Berlin' and others of the IANA database)"
        raise ValueError(msg) from error
