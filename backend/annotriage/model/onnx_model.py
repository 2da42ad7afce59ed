"""ONNX models, run by onnxruntime: a batch -> logits and the activations of the hidden layers.

The chosen hidden tensors are made outputs of the graph, in memory.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime

from annotriage.errors import ModelError
from annotriage.model.cores import cores
from annotriage.model.layers import channels_last, choose, listed, tensor_of
from annotriage.model.onnx_graph import Graph, read_graph
from annotriage.model.outputs import find_reading, probe_batch, refused_batch, run_in_batches, whole_in_batches
from annotriage.model.spec import ModelSpec, hash_files
from annotriage.model.types import Array, Layer, Outputs, Whole

TWICE = 256 * 2**20  # bytes of a model up to which it is loaded twice: to run on all cores, and on one of them beside others


class OnnxModel:
    """A `Model` on onnxruntime. Safe to be run from several threads at once.

    On a CPU runs side by side, on a core each, beat one run on all: whatever else the service does holds up one core, and in a run on all
    of them the others then spin until that one is through, so that each millisecond of it costs about two.
    """

    def __init__(self, spec: ModelSpec, device: str, threads: int = 0) -> None:
        graph = read_graph(spec)
        choice = choose(graph.steps, graph.output, spec)
        self.spec = spec
        self.layers = choice.layers
        self.fixed_batch = graph.fixed_batch
        self.hash = hash_files(graph.files)
        self._tensors = (choice.logits, *map(tensor_of, choice.layers))
        self.device, self._threads = device, threads or cores()
        self._session = self._session_of(graph, self._tensors, self._threads)
        self.lanes = self._threads if device == "cpu" and sum(file.stat().st_size for file in graph.files) <= TWICE else 1
        self._lane = self._session_of(graph, self._tensors, 1) if self.lanes > 1 else self._session
        self._input = graph.input
        self._dtype = _DTYPES.get(self._session.get_inputs()[0].type)
        if self._dtype is None:
            raise ModelError(f"{spec.model_path}: its input is {self._session.get_inputs()[0].type}; only numbers can be given to it")
        last = tuple(channels_last(graph.steps, tensor_of(name), spec.input.layout) for name in self.layers)
        self._reading = find_reading(self._forward, self._dtype, self.fixed_batch, choice, last, spec)
        self.spec, self.fixed_batch = self._reading.spec, self._reading.fixed_batch
        self.notes = self._reading.notes

    @staticmethod
    def gpu_missing() -> str:
        """Why no model can run on a GPU, and what to do; "" if this onnxruntime is made for one."""
        offered = onnxruntime.get_available_providers()
        if _GPU in offered:
            return ""
        return (
            f"onnxruntime runs the model on the CPU (it offers {', '.join(offered)})."
            ' Install "onnxruntime-gpu[cuda,cudnn]" in place of onnxruntime to use the GPU.'
        )

    def run(self, batch: Array, beside: bool = False) -> Outputs:
        """Outputs for (N, ...) inputs, any N. Raises ModelError if the runtime refuses the batch."""
        return run_in_batches(partial(self._forward, beside=beside), batch, self.fixed_batch, self._reading)

    def run_whole(self, batch: Array) -> Whole:
        """As `run`, with maps as they are, channels first."""
        return whole_in_batches(self._forward, batch, self.fixed_batch, self._reading)

    def alone(self) -> Callable[[Array], object]:
        """A session of its own, with the logits as its only output."""
        logits = self._tensors[:1]
        session = self._session_of(read_graph(self.spec), logits, self._threads)
        return lambda batch: self._found(session, logits, batch)

    def _session_of(self, graph: Graph, outputs: tuple[str, ...], threads: int) -> Any:
        """A session that puts out these tensors, in the precision that the spec names."""
        model = graph.with_outputs(outputs)
        return _session(graph, model if self.spec.precision is None else _rounded(model, graph, self.spec), self.device, threads)

    def _forward(self, batch: Array, beside: bool = False) -> tuple[Array, Sequence[Array]]:
        found = self._found(self._lane if beside else self._session, tuple(dict.fromkeys(self._tensors)), batch)
        output, *activations = (found[name] for name in self._tensors)
        return output, activations

    def _found(self, session: Any, names: tuple[str, ...], batch: Array) -> dict[str, Array]:
        """Tensors by name. Raises ModelError."""
        if not np.issubdtype(self._dtype, np.floating):
            batch = np.rint(batch)
        given = {self._input: np.ascontiguousarray(batch, dtype=self._dtype)}
        try:
            return dict(zip(names, session.run(list(names), given), strict=True))
        except Exception as error:  # onnxruntime raises a dozen classes of its own, each derived from Exception alone
            raise refused_batch(self.spec, "onnxruntime", batch, error) from error


def onnx_layers(spec: ModelSpec) -> list[Layer]:
    """The hidden layers of the spec's .onnx file that can be compared; the model is not loaded."""
    graph = read_graph(spec)
    return listed(graph.steps, graph.output, spec)


def run_once(graph: Graph, spec: ModelSpec, names: tuple[str, ...]) -> Array:
    """What the first of these tensors is for one random input: to learn its shape where the file does not say it."""
    session = _session(graph, graph.with_outputs(names), "cpu", 0)
    dtype = _DTYPES.get(session.get_inputs()[0].type, np.float32)
    batch = probe_batch(spec.input.shape, graph.fixed_batch or 1, dtype)
    return np.asarray(session.run(list(names), {graph.input: batch})[0])


def _rounded(model: bytes, graph: Graph, spec: ModelSpec) -> bytes:
    """The serialised model, computing in float16: onnxruntime has no such switch, so the graph itself is changed, in memory."""
    if spec.precision != "float16":
        raise ModelError(f'{spec.path}: [model] precision: onnxruntime computes in float16, not in {spec.precision}; set "float16"')
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        loaded = onnx.load_model_from_string(model)
        onnx.load_external_data_for_model(loaded, str(graph.folder))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of each weight that is nearer to zero than float16 can say
            return bytes(convert_float_to_float16(loaded, keep_io_types=True).SerializeToString())
    except Exception as error:  # of the converter and of protobuf, which takes no more than 2 GB
        raise ModelError(
            f"{spec.path}: [model] precision: {spec.model_path.name} cannot be turned into float16 ({error});"
            " export it in float16, or leave precision out"
        ) from error


def _session(graph: Graph, model: bytes, device: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 4  # what goes wrong is an error of ours, in our words
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(graph.folder))
    providers: list[Any] = ["CPUExecutionProvider"]
    missing = ""
    if device == "cuda":
        missing = _load_cuda()
        providers.insert(0, (_GPU, _GPU_OPTIONS))
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:  # as in OnnxModel._forward
        if cause := _CUDA_FAILURE.search(str(error)):
            raise ModelError(f"onnxruntime {onnxruntime.__version__} could not start CUDA: {cause.group()}") from error
        raise ModelError(
            f"{graph.files[0]}: onnxruntime {onnxruntime.__version__} cannot load it: {error}."
            " A newer onnxruntime, or an export with a lower opset or without custom operations, may help"
        ) from error
    if device == "cuda" and _GPU not in session.get_providers():
        raise ModelError(
            f"onnxruntime {onnxruntime.__version__} could not start CUDA{missing and f', for it cannot load {missing}'};"
            ' pip install "onnxruntime-gpu[cuda,cudnn]" brings the libraries that it needs'
        )
    return session


def _load_cuda() -> str:
    """Load CUDA's libraries from where pip puts them. Returns the names of those that are missing; onnxruntime prints them."""
    if not hasattr(onnxruntime, "preload_dlls"):
        return ""
    with redirect_stdout(io.StringIO()) as said:
        onnxruntime.preload_dlls()
    return ", ".join(re.findall(r"Failed to load ([^\s:]+)", said.getvalue()))


_GPU = "CUDAExecutionProvider"
_GPU_OPTIONS = {
    "use_tf32": "0",  # float32 as on a CPU, not rounded: a reference must hold on either
    "cudnn_conv_algo_search": "HEURISTIC",  # as fast as the default, which tries all algorithms again for each new batch size
}
_CUDA_FAILURE = re.compile(r"CUDA failure \d+: [^;]*[^;\s]")  # in a message that wraps it in names of source files
_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
