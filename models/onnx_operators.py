"""The operators that a graph may use, of the standard set ("") and of the one for classical models (ai.onnx.ml)."""


def _names(*groups: str) -> frozenset[str]:
    return frozenset(name for group in groups for name in group.split())


# What ONNX Runtime 1.23 is sure to load, and every later one.
OPSETS = {"": range(7, 23), "ai.onnx.ml": range(1, 6)}

_ONE_VALUE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh Cast CastLike Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu
    Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish
    Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum
    Tan Tanh ThresholdedRelu Where Xor
"""
_ALONG_AN_AXIS = """
    ArgMax ArgMin CumSum DFT Hardmax LogSoftmax ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax TopK
"""
_LAYERS = """
    AveragePool BatchNormalization Conv ConvTranspose Einsum GRU Gemm GlobalAveragePool GlobalMaxPool GroupNormalization
    InstanceNormalization LSTM LayerNormalization LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization RNN
"""
_SHAPES = """
    Concat Constant ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather GatherElements GatherND OneHot Pad Range
    Reshape ReverseSequence ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Trilu
    Unsqueeze
"""
_QUANTISED = "DequantizeLinear QLinearConv QLinearMatMul QuantizeLinear"
_CLASSICAL = """
    ArrayFeatureExtractor Binarizer Imputer LinearRegressor Normalizer SVMRegressor Scaler TreeEnsemble
    TreeEnsembleClassifier TreeEnsembleRegressor
"""
OPERATORS = {
    "": _names(_ONE_VALUE, _ALONG_AN_AXIS, _LAYERS, _SHAPES, _QUANTISED),
    "ai.onnx.ml": _names(_CLASSICAL),
}

_TIME = "the graph, not its size, would say how long it runs, and a branch takes one way for a whole batch"
_CHANCE = "the same window would not give the same score again"
_WHY_NOT = {
    **dict.fromkeys(("Loop", "Scan", "If"), _TIME),
    **dict.fromkeys(("Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomUniform"), _CHANCE),
    **dict.fromkeys(("RandomNormalLike", "RandomUniformLike"), _CHANCE),
    "DynamicQuantizeLinear": "its scale depends on the batch; quantise with fixed scales",
}


def why_not(operator: str) -> str:
    """Why it is not among the allowed ones, where somebody may wonder: ": because"; else empty."""
    return f": {_WHY_NOT[operator]}" if operator in _WHY_NOT else ""
