"""What a gateway says of itself on its retained topic `state`: birth, farewell, and the will for the case of its death.

JSON, so that a person can read it with any MQTT client. Every key has a default: a state of an older gateway reads
like one that says less, and keys of a newer one are passed over.

Three payloads differ in two keys: the birth is `online`; the farewell is not, and says when it was written; the will
is not online either and knows no time, for the broker publishes what it was given when the gateway connected.
"""

import msgspec

from models.contract.batch import VERSION, ContractError

STATE_VERSION = 1
MAX_STATE_BYTES = 64 * 1024


class RunningModel(msgspec.Struct, kw_only=True, frozen=True):
    """A loaded model bundle and the ONNX Runtime provider that it really runs on."""

    name: str = ""
    version: str = ""
    digest: str = ""  # of the bundle, sha256, hex
    provider: str = ""
    provider_reason: str = ""  # why it is not the first wanted one; empty = it is, or the gateway is an older one


class RefusedModel(msgspec.Struct, kw_only=True, frozen=True):
    """A model whose file cannot be used."""

    name: str = ""
    reason: str = ""  # the beginning of it: the gateway's alarm and log have the whole
    serves: str = ""  # digest of the bundle that served before and still does; empty = the model is out of service


class State(msgspec.Struct, kw_only=True, frozen=True):
    """One gateway as of its last connection, or its last change of configuration."""

    state_version: int = STATE_VERSION
    online: bool = False
    since_ns: int = 0  # when the process began
    stopped_ns: int = 0  # when it stopped in order; 0 = it runs, or nobody could say when it ended
    site: str = ""
    gateway: str = ""
    version: str = ""  # of Tocsin
    contract_versions: tuple[int, ...] = (VERSION,)  # of batches that it speaks
    epoch: str = ""  # of its outbox
    config_digest: str = ""  # sha256, hex; equal for gateways whose files differ only in `gateway` and `state_dir`
    models: tuple[RunningModel, ...] = ()
    refused_models: tuple[RefusedModel, ...] = ()
    providers_wanted: tuple[str, ...] = ()  # in order of preference
    python: str = ""
    onnxruntime: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(State)


def encode_state(state: State) -> bytes:
    """The payload of the retained topic."""
    return _encoder.encode(state)


def decode_state(payload: bytes) -> State:
    """Raises ContractError when it is too large or no state."""
    if len(payload) > MAX_STATE_BYTES:
        msg = f"a state of {len(payload)} bytes (allowed: {MAX_STATE_BYTES})"
        raise ContractError(msg)
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(str(error)) from error
