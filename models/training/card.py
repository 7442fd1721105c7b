"""The model card, `card.md` in the bundle: what a person needs to know before trusting the model.

After Mitchell et al. 2019, Model Cards for Model Reporting. It holds no time of day: the same recipe, data and
libraries give the same bytes.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from models.manifest import Manifest
from models.training.data import Data
from models.training.figures import counted, in_words
from models.training.recipes import METHODS, Recipe, as_toml
from models.training.splits import Parts

_LIBRARIES = ("tocsin", "numpy", "scipy", "scikit-learn", "onnx", "torch")
_PURPOSE = {
    "anomaly": "Says how unlike normal a machine of this kind runs now, and which channels that comes from.",
    "failure": "Says how long a machine of this kind will last, how sure that is, and how likely it fails soon.",
    "quality": "Predicts the quality of the product from the process, and says which channels to move which way.",
}
_LIMITS = {
    "anomaly": (
        "It knows only the ways of running that the data show: a new product, season or tool may look like a fault.",
        "A high score says that something is unusual, not what is broken and not how soon it matters.",
        "A fault that was there while the data were recorded is normal to it.",
    ),
    "failure": (
        "It knows only the ways of failing that the data show; a machine that fails in another way gets no warning.",
        "The interval holds for machines like those in the data, used like them.",
    ),
    "quality": (
        "Directions are what the data go with, not proven causes: try a small step, and look.",
        "It knows only the settings that the data show; beyond them it does not extrapolate.",
    ),
}
_NEVER = (
    "As the only safeguard of people or plant: it replaces no safety function, limit switch or inspection.",
    "For machines, sensors, units or sample periods other than those below.",
    "To judge the work of people.",
)

_EARLIEST_NS = 86_400 * 365 * 10**9  # times that begin before count from a machine's beginning


def card(
    recipe: Recipe,
    data: Data,
    parts: Parts,
    manifest: Manifest,
    warnings: Sequence[str],
) -> str:
    """Markdown. `warnings`: what a reader must know first."""
    method = METHODS[recipe.kind][recipe.method]
    lines = [f"# {manifest.name} {manifest.version}", "", _PURPOSE[recipe.kind], ""]
    lines += [f"> **Mind:** {text}\n" for text in warnings]
    lines += _facts(
        "Model",
        {
            "kind": recipe.kind,
            "method": f"{recipe.method}: {method.says}",
            "window": f"{counted(manifest.window, 'frame')} of {manifest.sample_period_s:g} s",
            "outputs": ", ".join(manifest.outputs),
            "alarm": alarm_text(manifest),
            "seed": str(recipe.seed),
        },
    )
    lines += _list("What it must not be used for", _NEVER)
    lines += _list("Limits", _LIMITS[recipe.kind])
    lines += _facts("Data", _data(data))
    lines += ["### Channels", "", *(f"- {c.name} [{c.unit or 'unit not told'}]" for c in data.channels), ""]
    lines += [
        "### Files",
        "",
        *(f"- {s.name}: {counted(s.rows, 'row')}, SHA-256 `{s.sha256}`" for s in data.sources),
        "",
    ]
    lines += _list("Split", (parts.says[0].upper() + parts.says[1:] + ".",))
    lines += _facts("Figures", in_words(manifest.evaluation))
    if not parts.test:
        lines += ["No row was kept to judge the model: nothing is known of it on data that it has not seen.", ""]
    lines += ["## Recipe", "", "```toml", as_toml(recipe).rstrip(), "```", ""]
    lines += _facts("Made with", {"Python": python_version(), **libraries()})
    return "\n".join(lines).rstrip() + "\n"


def alarm_text(manifest: Manifest) -> str:
    """When the alarm opens and closes, in words."""
    limit = manifest.threshold
    side = "above" if limit.above else "below"
    return (
        f"opens when {limit.output} is {side} {limit.open_at:.4g} for {counted(limit.open_after, 'window')} in a row, "
        f"closes at {limit.close_at:.4g} after {limit.close_after}"
    )


def libraries() -> dict[str, str]:
    """Versions of what a model's bytes may depend on, of those that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _data(data: Data) -> dict[str, str]:
    facts = {
        "frames": f"{counted(data.frames, 'whole one')}, of {data.sample_period_s:g} s each, "
        f"in {counted(len(data.runs), 'run')}",
        "machines": f"{len(data.units):,}: {', '.join(data.units[:8])}{', …' if len(data.units) > 8 else ''}",
    }
    if data.has_times:
        begin = min(int(run.time_ns[0]) for run in data.runs)
        end = max(int(run.time_ns[-1]) for run in data.runs)
        facts["times"] = " to ".join(_time(each, is_age=begin < _EARLIEST_NS) for each in (begin, end))
    return facts | ({"left out": "; ".join(data.notes)} if data.notes else {})


def _time(time_ns: int, *, is_age: bool) -> str:
    if is_age:
        return f"{time_ns / 3600e9:.4g} h"
    return f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _facts(title: str, facts: Mapping[str, str]) -> list[str]:
    return [f"## {title}", "", *(f"- **{key.replace('_', ' ')}**: {value}" for key, value in facts.items()), ""]


def _list(title: str, texts: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(f"- {text}" for text in texts), ""]
