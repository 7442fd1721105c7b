"""The section `[data]` of a recipe: what the columns of a file mean, and the grid they are put on."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

TimeUnit = Literal["iso", "ns", "us", "ms", "s", "min", "h", "d"]


class DataSection(BaseModel):
    """How to read the data. Names are those of the file's header."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Literal["auto", "cmapss"] = Field(
        "auto",
        description="auto: a column a channel, or a row a reading as `aggregator query`, `model fetch` and "
        "`edge replay --out` write it; cmapss: unit, cycle, 3 settings, 21 sensors, blanks between, no header; "
        "the cycle is an input too, the age of a unit",
    )
    separator: str = Field(
        ",", description="of a text file: one character, or tab, comma, semicolon, space (any run of blanks)"
    )
    time_column: str | None = Field(
        None, description="times of the rows; without one the first column if it holds dates, else a row is a period"
    )
    time_unit: TimeUnit = Field("iso", description="what the time column counts, if it holds numbers")
    unit_column: str | None = Field(None, description="which machine, or which run to failure, a row belongs to")
    label_column: str | None = Field(
        None, description="1 where something was wrong; for the figures only, no model is fitted to it"
    )
    target_column: str | None = Field(None, description="quality: the measured quality, 0 to 100")
    columns: tuple[str, ...] = Field(
        (), description="inputs in order, the time too if it counts an age; none named: every column of numbers"
    )
    settings: tuple[str, ...] = Field((), description="failure: those inputs that set the operating regime")
    exclude: tuple[str, ...] = Field((), description="columns that are no inputs")
    units: dict[str, str] = Field({}, description="the unit of each input, such as { pressure = 'bar' }")
    field: Literal["denoised", "value"] = Field(
        "denoised", description="of rows that are readings: denoised values, which the live models see, or raw ones"
    )
    sample_period_s: float | None = Field(
        None,
        ge=0.001,
        le=86_400,
        description="the grid, as `period_s` of the edge agent; none: as found in the times, else 1 s",
    )
    hold_s: float = Field(5.0, ge=0, description="how long a value stands in for missing ones, as of the edge agent")
    thin: bool = Field(False, description="true: rows come faster than the grid, and of each cell the last one counts")
    rows: int | None = Field(None, ge=3, description="learn from the first rows only, of each machine; judge the rest")

    @model_validator(mode="after")
    def _each_column_is_one_thing(self) -> "DataSection":
        special = (self.unit_column, self.label_column, self.target_column, *self.exclude)
        inputs = (*self.columns, *self.settings)
        for name in inputs:
            if name in special or (name == self.time_column and name in self.settings):
                msg = f"{name!r} is named as an input and as something else: one of them is allowed"
                raise ValueError(msg)
        for name in dict.fromkeys(inputs):
            if inputs.count(name) > (2 if name in self.settings else 1):
                msg = f"{name!r} is named twice"
                raise ValueError(msg)
        return self
