"""Are the models' own metrics merged under their names, whatever they say?"""

from swapcore_http.metrics.prometheus import exposition
from swapcore_http.metrics.upstreams import merged

LLAMA = """# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total {}
"""
VLLM = """# HELP vllm:num_requests_running Number of requests.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model="Qwen"} 2.0
# HELP vllm:ttft_seconds Histogram.
# TYPE vllm:ttft_seconds histogram
vllm:ttft_seconds_bucket{le="0.1"} 1
vllm:ttft_seconds_bucket{le="+Inf"} 3
vllm:ttft_seconds_count 3
vllm:ttft_seconds_sum 7.5
"""


def lines(**texts: str) -> list[str]:
    return exposition(merged(texts)).decode().splitlines()


def test_one_family_of_several_models_is_written_once() -> None:
    assert lines(a=LLAMA.format(5), b=LLAMA.format(7)) == [
        "# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.",
        "# TYPE llamacpp:prompt_tokens_total counter",
        'llamacpp:prompt_tokens_total{model="a"} 5.0',
        'llamacpp:prompt_tokens_total{model="b"} 7.0',
    ]


def test_labels_and_histograms() -> None:
    samples = [line for line in lines(v=VLLM) if not line.startswith("#")]
    assert samples == [
        'vllm:num_requests_running{engine="0",exported_model="Qwen",model="v"} 2.0',
        'vllm:ttft_seconds_bucket{le="0.1",model="v"} 1.0',
        'vllm:ttft_seconds_bucket{le="+Inf",model="v"} 3.0',
        'vllm:ttft_seconds_count{model="v"} 3.0',
        'vllm:ttft_seconds_sum{model="v"} 7.5',
    ]


def test_what_cannot_be_read_leaves_the_others_in() -> None:
    assert len(lines(a="<html>nothing here {", b=LLAMA.format(7))) == 3


def test_names_of_our_own_stay_our_own() -> None:
    assert lines(a="swapcore_requests_total 5\nllamaswap_x 6\n") == []
