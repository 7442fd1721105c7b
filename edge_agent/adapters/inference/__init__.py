"""Models on ONNX Runtime: the provider in use is proved, and a run is bounded in time.

shelf      checks bundles, loads them, lets them go
  kept     bundles by digest on disk, until no journal entry needs them
  model    one loaded bundle: windows in, scores out; out of service when it fails twice
    loading    providers in the configured order, each proved, until one holds
    proof      every bucket runs before the model serves; a window's score must not depend on its batch
    buckets    n windows cut into runs of few fixed sizes
    bounded    a run that takes too long is stopped; one that cannot be stopped is left behind
      runtime    what is asked of ONNX Runtime (providers: its options; session: one graph on one provider)
        wheels, cuda_driver    what must be there before it is asked
"""

from edge_agent.adapters.inference.model import OnnxModel
from edge_agent.adapters.inference.shelf import Adopted, ModelShelf
from edge_agent.adapters.inference.wheels import onnx_runtime_version

__all__ = ["Adopted", "ModelShelf", "OnnxModel", "onnx_runtime_version"]
