"""Channels that are new: numbered as they come, and looked up once, whatever is there already."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import AssetRule, ChannelRule, EdgeConfig
from edge_agent.core.catalogue import Catalogue
from edge_agent.core.denoise.chain import Chains
from edge_agent.core.denoise.reports import Reports
from edge_agent.core.readings import ChannelKey
from tests.signal_path import CHANNELS, config

CONFIG = config(CHANNELS)
NAMES = ("temp", "t1", "t2", "t3", "flow", "press", "load", "rpm", "other")
KEYS = [(asset, name) for asset in ("m1", "n1", "x", "m2") for name in NAMES]


def plain(of: object) -> dict[str, Any]:
    """What it holds, arrays as dtype and bytes."""
    return {
        name: (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
        for name, value in vars(of).items()
        if name != "_config"
    }


def held(catalogue: Catalogue) -> list[dict[str, Any]]:
    grid = plain(catalogue.grid)
    return [plain(grid.pop("modes")), grid, plain(catalogue.checks), plain(catalogue) | {"checks": 0, "grid": 0}]


@given(st.permutations(KEYS), st.lists(st.integers(0, len(KEYS)), max_size=8))
@settings(deadline=None, max_examples=40)
def test_channels_that_come_bit_by_bit_have_the_settings_and_the_stages_of_all_looked_up_at_once(
    keys: list[ChannelKey], cuts: list[int]
) -> None:
    grown, chains, reports = Catalogue(), Chains(), Reports()
    grown.settle(CONFIG)
    for begin, end in pairwise([0, *sorted(cuts), len(keys)]):
        grown.number(keys[begin:end], CONFIG)
        chains.settle(grown.chains)
        assert not len(reports.settle(grown.reports).channel)
    whole = Catalogue()
    whole.restore(grown.channels)
    whole.settle(CONFIG)
    assert held(grown) == held(whole)
    at_once, reports_at_once = Chains(), Reports()
    at_once.settle(whole.chains)
    reports_at_once.settle(whole.reports)
    assert repr(chains.snapshot()) == repr(at_once.snapshot())
    assert repr(reports.snapshot()) == repr(reports_at_once.snapshot())


class Counting(EdgeConfig):
    """Counts how often the rule of each channel and asset is asked for."""

    def channel_rule(self, asset: str, channel: str) -> ChannelRule | None:
        ASKED[asset, channel] += 1
        return super().channel_rule(asset, channel)

    def asset_rule(self, asset: str) -> AssetRule | None:
        ASKED[asset, ""] += 1
        return super().asset_rule(asset)


ASKED: Counter[ChannelKey] = Counter()


def test_of_channels_that_are_new_only_they_are_looked_at() -> None:
    counting = Counting.model_validate(CONFIG.model_dump())
    catalogue = Catalogue()
    catalogue.settle(counting)
    catalogue.number([("m1", name) for name in NAMES], counting)
    chains, reports = catalogue.chains, catalogue.reports
    ASKED.clear()
    catalogue.number([("m2", "t1")], counting)
    assert {asset for asset, _ in ASKED} == {"m2"}
    assert catalogue.chains is chains
    assert catalogue.reports is reports
    catalogue.settle(counting)
    assert catalogue.chains is not chains
    assert catalogue.reports is not reports
