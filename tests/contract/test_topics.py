"""Topics between gateways and aggregators."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.topics import KINDS, Kind, parse, subscription, topic

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)


@given(names, names, st.sampled_from(KINDS))
def test_a_topic_reads_as_the_names_it_was_made_of(site: str, gateway: str, kind: Kind) -> None:
    assert parse(topic(site, gateway, kind)) == (site, gateway, kind)


@pytest.mark.parametrize("name", ["", "+", "#", "a/b", "a b", ".a", "-a", "_a", "ä", "a" * 65, "a\0", "$a", "a\n"])
def test_a_name_that_is_no_safe_topic_level_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="site"):
        topic(name, "g", "batch")
    with pytest.raises(ValueError, match="gateway"):
        topic("s", name, "batch")
    assert parse(f"tocsin/v1/{name}/g/batch") is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "tocsin/v1/s/g",
        "tocsin/v1/s/g/batch/x",
        "tocsin/v1/s/g/other",
        "tocsin/v2/s/g/batch",
        "x/tocsin/v1/s/g/batch",
        "tocsin/v1//g/batch",
        "tocsin/v1/s/g/",
        "TOCSIN/v1/s/g/batch",
    ],
)
def test_another_topic_is_none_of_the_contracts(name: str) -> None:
    assert parse(name) is None


@given(st.text(max_size=40))
def test_any_text_is_parsed_without_an_error_and_only_a_topic_that_topic_makes_is_taken(name: str) -> None:
    found = parse("tocsin/v1/" + name)
    assert found is None or topic(*found) == "tocsin/v1/" + name


def test_a_subscription_takes_one_kind_of_all_gateways() -> None:
    assert subscription("batch") == "tocsin/v1/+/+/batch"
    assert subscription("batch", share="writers") == "$share/writers/tocsin/v1/+/+/batch"
