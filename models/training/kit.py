"""The whole way of `model train`: data, draft, judgement on unseen rows, card, report, signature, file."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.bundle import Bundle, pack_bundle
from models.evaluation.report.page import page
from models.signing import sign
from models.training.card import alarm_text, card, libraries
from models.training.data import Data, read_data
from models.training.drafts import Draft, make_draft
from models.training.figures import counted, in_words
from models.training.recipes import Recipe, as_toml

Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


class Made(NamedTuple):
    """A bundle that is not yet a file."""

    bundle: Bundle
    warnings: tuple[str, ...]
    notes: tuple[str, ...]  # what of the data was left out, and why
    report: Callable[[], str]  # draws its pictures, and gives the page in HTML


def make(recipe: Recipe, paths: Sequence[Path], progress: Progress, key: Ed25519PrivateKey | None = None) -> Made:
    """Train what the recipe asks for.

    Args:
        recipe: what to do.
        paths: files of one layout.
        progress: gives, for a step's name, what is told how much of it is done.
        key: signs the bundle; None: it is left unsigned.

    Raises:
        DataError: the data cannot be used.
        BundleError: the model fits in no bundle.
        ModuleNotFoundError: an extra is missing.
    """
    with progress("reading") as advance:
        data = read_data(paths, recipe.data, advance)
    with progress("fitting") as advance:
        draft = make_draft(recipe, data, advance)
    recipe = draft.recipe
    evaluation = {**draft.bundle.manifest.evaluation, **draft.figures}
    manifest = draft.bundle.manifest.model_copy(update={"evaluation": evaluation})
    text = card(recipe, data, draft.parts, manifest, draft.warnings)
    extra = {"card.md": text.encode(), "recipe.toml": as_toml(recipe).encode()}
    bundle = pack_bundle(manifest, draft.bundle.model, extra)
    if key is not None:
        bundle = sign(bundle, key)
    return Made(bundle, draft.warnings, data.notes, lambda: _report(bundle, recipe, data, draft))


def _report(bundle: Bundle, recipe: Recipe, data: Data, draft: Draft) -> str:
    manifest = bundle.manifest
    tables = {
        "Figures": in_words(manifest.evaluation),
        "Model": {
            "method": recipe.method,
            "window": f"{counted(manifest.window, 'frame')} of {manifest.sample_period_s:g} s",
            "channels": ", ".join(f"{c.name} [{c.unit}]" if c.unit else c.name for c in manifest.channels),
            "alarm": alarm_text(manifest),
            "seed": str(recipe.seed),
        },
        "Data": {
            "files": ", ".join(f"{s.name} ({counted(s.rows, 'row')})" for s in data.sources),
            "frames": f"{data.frames:,} of {data.sample_period_s:g} s in {counted(len(data.runs), 'run')}",
            "split": draft.parts.says,
            "left out": "; ".join(data.notes) or "nothing",
        },
        "Made with": {**libraries(), "digest of the bundle": bundle.digest},
    }
    lead = f"{recipe.kind} model; {manifest.trained_on}. The bundle's card says what it must not be used for."
    return page(f"{manifest.name} {manifest.version}", lead, draft.warnings, tables, list(draft.charts))
