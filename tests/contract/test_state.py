"""The retained state: what was written is read back, by older and by newer sides too."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.batch import VERSION, ContractError
from models.contract.state import MAX_STATE_BYTES, RefusedModel, RunningModel, State, decode_state, encode_state

texts = st.text(max_size=20)
refused = st.builds(RefusedModel, name=texts, reason=texts, serves=texts)
models = st.builds(RunningModel, name=texts, version=texts, digest=texts, provider=texts, provider_reason=texts)
states = st.builds(
    State,
    online=st.booleans(),
    since_ns=st.integers(0, 2**63 - 1),
    stopped_ns=st.integers(0, 2**63 - 1),
    site=texts,
    gateway=texts,
    version=texts,
    epoch=texts,
    config_digest=texts,
    models=st.lists(models, max_size=3).map(tuple),
    refused_models=st.lists(refused, max_size=3).map(tuple),
    providers_wanted=st.lists(texts, max_size=2).map(tuple),
    python=texts,
    onnxruntime=texts,
)


@given(states)
def test_a_state_reads_back_as_it_was_written_and_is_plain_json(state: State) -> None:
    payload = encode_state(state)
    assert decode_state(payload) == state
    assert json.loads(payload)["online"] is state.online


def test_a_state_of_the_first_agents_reads_like_one_that_says_less() -> None:
    old = {
        "online": True,
        "since_ns": 7,
        "version": "0.1.0",
        "epoch": "e",
        "config_digest": "d",
        "models": [{"name": "wear", "version": "1.0", "digest": "ab", "provider": "cpu"}],
    }
    state = decode_state(json.dumps(old).encode())
    assert (state.online, state.since_ns, state.version, state.models[0].name) == (True, 7, "0.1.0", "wear")
    assert (state.stopped_ns, state.providers_wanted, state.contract_versions) == (0, (), (VERSION,))
    assert state.models[0].provider_reason == ""


def test_keys_of_a_newer_agent_are_passed_over() -> None:
    newer = {"state_version": 9, "online": True, "mood": {"good": [1, 2]}, "models": [{"name": "m", "shape": 3}]}
    state = decode_state(json.dumps(newer).encode())
    assert (state.state_version, state.online, state.models[0].name) == (9, True, "m")


@given(st.binary(max_size=60))
def test_whatever_the_bytes_only_a_contract_error_comes_of_them(payload: bytes) -> None:
    with suppress(ContractError):
        assert isinstance(decode_state(payload), State)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[1]",
        b'{"online": "yes"}',
        b'{"since_ns": 1e400}',
        b'{"version": "\xff"}',
        b"[" * 50_000,
        b'{"mood": ' + b"[" * 50_000,
        b'{"version": "' + b"x" * MAX_STATE_BYTES + b'"}',
    ],
)
def test_what_is_no_state_is_refused(payload: bytes) -> None:
    with pytest.raises(ContractError):
        decode_state(payload)
