import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from trainer.model_config import encoder_configs, head_configs

ENCODER = encoder_configs(vocabulary=30522)
HEAD = head_configs(labels=5, history=10, user=11, windows=2)


def parsed(text: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("files", [ENCODER, HEAD], ids=["encoder", "head"])
def test_both_servers_get_the_same_wire_contract(files: dict[str, str]) -> None:
    cpu, gpu = parsed(files["config.pbtxt"]), parsed(files["configs/gpu.pbtxt"])

    def contract(config: model_config_pb2.ModelConfig) -> list[tuple[str, int, list[int]]]:
        return [
            (tensor.name, tensor.data_type, list(tensor.dims)) for tensor in (*config.input, *config.output)
        ]

    # Which label set is loaded only model.py says, not the bare ONNX file.
    told = [tensor for tensor in contract(cpu) if tensor[0] != "LABEL_SET"]
    assert told == contract(gpu)
    assert cpu.name == gpu.name


@pytest.mark.parametrize("files", [ENCODER, HEAD], ids=["encoder", "head"])
def test_the_cpu_runs_one_instance_of_one_thread_and_waits_half_a_millisecond(files: dict[str, str]) -> None:
    config = parsed(files["config.pbtxt"])

    assert config.backend == "python"
    assert [(group.kind, group.count) for group in config.instance_group] == [
        (model_config_pb2.ModelInstanceGroup.KIND_CPU, 1)
    ]
    assert config.parameters["threads"].string_value == "1"
    assert config.dynamic_batching.max_queue_delay_microseconds == 500


@pytest.mark.parametrize("text", [*ENCODER.values(), *HEAD.values()])
def test_the_newest_two_versions_are_served_and_warmed_up(text: str) -> None:
    config = parsed(text)

    assert config.version_policy.latest.num_versions == 2
    assert config.model_warmup
    assert {name for request in config.model_warmup for name in request.inputs} == {
        tensor.name for tensor in config.input
    }


def test_the_encoder_takes_requests_of_different_lengths_in_one_cpu_batch() -> None:
    config = parsed(ENCODER["config.pbtxt"])

    assert config.max_batch_size == 16
    assert all(tensor.allow_ragged_batch and list(tensor.dims) == [-1] for tensor in config.input)
    assert config.parameters["buckets"].string_value == "16,32,64"
    assert config.parameters["max_id"].string_value == "30521"


def test_the_gpu_runs_the_onnx_file_itself_through_tensorrt() -> None:
    config = parsed(ENCODER["configs/gpu.pbtxt"])

    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator

    assert (config.backend, config.default_model_filename) == ("onnxruntime", "model.onnx")
    assert [accelerator.name for accelerator in accelerators] == ["tensorrt"]
    assert accelerators[0].parameters["trt_profile_max_shapes"] == "INPUT_IDS:64x64,ATTENTION_MASK:64x64"


def test_the_head_has_a_row_per_interest() -> None:
    config = parsed(HEAD["config.pbtxt"])

    assert config.max_batch_size == 64
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [
        ("HISTORY", [5, 10]),
        ("USER", [11]),
        ("WINDOW", [2, 384]),
    ]
    assert [(tensor.name, list(tensor.dims)) for tensor in config.output] == [
        ("SCORES", [5]),
        ("INTENT", [3]),
        ("USER_VECTOR", [384]),
        ("LABEL_SET", [1]),
    ]
