"""The config.pbtxt files of the model repository, for the embedded CPU server, a GPU container, and OpenVINO's backend.

All serve the same wire contract, the first two from the same model.onnx. Each file is written by hand here, as its reader will see
it, and checked against Triton's own protobuf by a test and at publishing.
"""

from string import Template
from typing import Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from trainer.contract import BUCKETS, DIMENSIONS, MAX_TOKENS
from trainer.errors import ExportError

#: More rows at once are not faster on a CPU, and one batch must not hold others up.
ENCODER_CPU_BATCH: Final = 16
HEAD_BATCH: Final = 64
_ENCODER_GPU_BATCH: Final = 64

#: So that a challenger can be tried beside the champion, and a promoted one taken back at once.
SERVED_VERSIONS: Final = 2

_CPU: Final = f"""\
dynamic_batching {{ max_queue_delay_microseconds: 500 }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
version_policy: {{ latest {{ num_versions: {SERVED_VERSIONS} }} }}
"""

_GPU: Final = f"""\
default_model_filename: "model.onnx"
instance_group [ {{ kind: KIND_GPU count: 1 }} ]
version_policy: {{ latest {{ num_versions: {SERVED_VERSIONS} }} }}
"""

_ENCODER_CPU: Final = Template("""\
# Text to vector on a CPU. Requests of different lengths may share a batch: model.py pads them.
name: "behaviour_encoder"
backend: "python"
max_batch_size: $batch
input [
  { name: "INPUT_IDS" data_type: TYPE_INT32 dims: [ -1 ] allow_ragged_batch: true },
  { name: "ATTENTION_MASK" data_type: TYPE_INT32 dims: [ -1 ] allow_ragged_batch: true }
]
output [ { name: "VECTOR" data_type: TYPE_FP32 dims: [ $dimensions ] } ]
${common}parameters { key: "engine" value { string_value: "auto" } }
parameters { key: "threads" value { string_value: "1" } }
parameters { key: "run_rows" value { string_value: "$batch" } }
parameters { key: "buckets" value { string_value: "$buckets" } }
parameters { key: "max_id" value { string_value: "$max_id" } }
$warmup""")

_ENCODER_GPU: Final = Template("""\
# Text to vector on a GPU: tritonserver --model-config-name=gpu. Written from the documentation, not run.
# Clients pad to $buckets tokens, so that the engine is built for few shapes. It runs in fp32: TensorRT 11 has no
# flag for fp16, the types must be built into a copy of model.onnx (interestflow-trainer half).
name: "behaviour_encoder"
backend: "onnxruntime"
max_batch_size: $batch
input [
  { name: "INPUT_IDS" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "ATTENTION_MASK" data_type: TYPE_INT32 dims: [ -1 ] }
]
output [ { name: "VECTOR" data_type: TYPE_FP32 dims: [ $dimensions ] } ]
dynamic_batching { preferred_batch_size: [ 32, 64 ] max_queue_delay_microseconds: 500 }
${common}optimization {
  execution_accelerators {
    gpu_execution_accelerator: [ {
      name: "tensorrt"
      parameters { key: "trt_engine_cache_enable" value: "1" }
      parameters { key: "trt_engine_cache_path" value: "/var/cache/trt" }
      parameters { key: "trt_timing_cache_enable" value: "1" }
      parameters { key: "trt_profile_min_shapes" value: "INPUT_IDS:1x$short,ATTENTION_MASK:1x$short" }
      parameters { key: "trt_profile_opt_shapes" value: "INPUT_IDS:32x$short,ATTENTION_MASK:32x$short" }
      parameters { key: "trt_profile_max_shapes" value: "INPUT_IDS:${batch}x$long,ATTENTION_MASK:${batch}x$long" }
    } ]
  }
}
$warmup""")

_ENCODER_OPENVINO: Final = Template("""\
# Text to vector by Triton's OpenVINO backend: tritonserver --model-config-name=openvino. Written from its documentation
# and source, not run. Each version needs model.xml and model.bin (interestflow-trainer openvino).
# max_batch_size 0: with another the backend pads every request to that many rows. Workers send up to $batch at once.
name: "behaviour_encoder"
backend: "openvino"
default_model_filename: "model.xml"
max_batch_size: 0
input [
  { name: "INPUT_IDS" data_type: TYPE_INT32 dims: [ -1, -1 ] },
  { name: "ATTENTION_MASK" data_type: TYPE_INT32 dims: [ -1, -1 ] }
]
output [ { name: "VECTOR" data_type: TYPE_FP32 dims: [ -1, $dimensions ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
version_policy: { latest { num_versions: $versions } }
parameters { key: "INFERENCE_NUM_THREADS" value { string_value: "1" } }
parameters { key: "NUM_STREAMS" value { string_value: "1" } }
parameters { key: "PERFORMANCE_HINT" value { string_value: "LATENCY" } }
$warmup""")

_HEAD_CPU: Final = Template("""\
# A user's raw features to calibrated interest scores, purchase intent and user vector, on a CPU.
# fp32 everywhere: it is small, and its counts need the digits.
name: "interest_head"
backend: "python"
max_batch_size: $batch
$tensors
${common}parameters { key: "engine" value { string_value: "fp32" } }
parameters { key: "threads" value { string_value: "1" } }
parameters { key: "run_rows" value { string_value: "16" } }
$warmup""")

_HEAD_GPU: Final = Template("""\
# A user's raw features to scores on a GPU: tritonserver --model-config-name=gpu. Written from the documentation, not run.
name: "interest_head"
backend: "onnxruntime"
max_batch_size: $batch
$tensors
dynamic_batching { preferred_batch_size: [ 32, 64 ] max_queue_delay_microseconds: 500 }
${common}$warmup""")

_HEAD_TENSORS: Final = Template("""\
input [
  { name: "HISTORY" data_type: TYPE_FP32 dims: [ $labels, $history ] },
  { name: "USER" data_type: TYPE_FP32 dims: [ $user ] },
  { name: "WINDOW" data_type: TYPE_FP32 dims: [ $windows, $dimensions ] }
]
output [
  { name: "SCORES" data_type: TYPE_FP32 dims: [ $labels ] },
  { name: "INTENT" data_type: TYPE_FP32 dims: [ 3 ] },
  { name: "USER_VECTOR" data_type: TYPE_FP32 dims: [ $dimensions ] }$label_set
]""")

#: What model.py adds; the bare ONNX file of the GPU does not tell it, and clients then can't check it.
_LABEL_SET: Final = ',\n  { name: "LABEL_SET" data_type: TYPE_INT64 dims: [ 1 ] }'


def encoder_configs(vocabulary: int) -> dict[str, str]:
    """Files of ``behaviour_encoder`` by their path below the model, for a vocabulary of so many tokens."""
    values = {
        "dimensions": DIMENSIONS,
        "buckets": ",".join(map(str, BUCKETS)),
        "short": BUCKETS[0],
        "long": MAX_TOKENS,
        "max_id": vocabulary - 1,
    }
    inputs = dict.fromkeys(("INPUT_IDS", "ATTENTION_MASK"), "TYPE_INT32")

    def text(template: Template, batch: int, common: str) -> str:
        warmup = "".join(
            _warmup(f"tokens_{length}", batch, [(name, kind, [length]) for name, kind in inputs.items()])
            for length in BUCKETS
        )
        return template.substitute(values, batch=batch, common=common, warmup=warmup)

    return {
        "config.pbtxt": text(_ENCODER_CPU, ENCODER_CPU_BATCH, _CPU),
        "configs/gpu.pbtxt": text(_ENCODER_GPU, _ENCODER_GPU_BATCH, _GPU),
    }


def openvino_config() -> str:
    """The config of ``behaviour_encoder`` for Triton's OpenVINO backend, in place of ``config.pbtxt``."""
    warmup = "".join(
        _warmup(
            f"tokens_{length}",
            1,  # what Triton asks of models that don't batch; the rows are in the shape
            [(name, "TYPE_INT32", [ENCODER_CPU_BATCH, length]) for name in ("INPUT_IDS", "ATTENTION_MASK")],
        )
        for length in BUCKETS
    )
    return _ENCODER_OPENVINO.substitute(
        batch=ENCODER_CPU_BATCH, dimensions=DIMENSIONS, versions=SERVED_VERSIONS, warmup=warmup
    )


def head_configs(labels: int, history: int, user: int, windows: int) -> dict[str, str]:
    """Files of ``interest_head`` by their path below the model."""
    sizes = {
        "labels": labels,
        "history": history,
        "user": user,
        "windows": windows,
        "dimensions": DIMENSIONS,
    }
    cpu = _HEAD_TENSORS.substitute(sizes, label_set=_LABEL_SET)
    gpu = _HEAD_TENSORS.substitute(sizes, label_set="")
    shapes = [("HISTORY", [labels, history]), ("USER", [user]), ("WINDOW", [windows, DIMENSIONS])]
    warmup = _warmup("users", HEAD_BATCH, [(name, "TYPE_FP32", dims) for name, dims in shapes])
    values = {"batch": HEAD_BATCH, "warmup": warmup}
    return {
        "config.pbtxt": _HEAD_CPU.substitute(values, tensors=cpu, common=_CPU),
        "configs/gpu.pbtxt": _HEAD_GPU.substitute(values, tensors=gpu, common=_GPU),
    }


def require_valid(path: str, text: str) -> None:
    """Pass a config that Triton's own protobuf reads.

    Raises:
        ExportError: If it doesn't, with what is wrong.
    """
    try:
        text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ExportError(f"{path} is no Triton model configuration: {error}; mend its template") from error


def _warmup(name: str, batch: int, inputs: list[tuple[str, str, list[int]]]) -> str:
    """One warm-up request of zeros: memory is taken and kernels are chosen before the first user waits."""
    lines = [
        f'  inputs {{ key: "{key}" value {{ data_type: {kind} dims: {dims} zero_data: true }} }}\n'
        for key, kind, dims in inputs
    ]
    return f'model_warmup {{\n  name: "{name}"\n  batch_size: {batch}\n{"".join(lines)}}}\n'
