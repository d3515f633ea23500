"""What do the counts look like to Prometheus?

The names for system and GPUs are llama-swap's; all others begin with
`swapcore_`. The library is imported when the first one asks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from swapcore import Snapshot
from swapcore_http.metrics.performance import Sample
from swapcore_http.metrics.tallies import WAITS, Spread, Tallies

__all__ = ["exposition", "machine", "models"]

MEBIBYTE = 1024 * 1024

GPU_GAUGES = (
    ("temperature_celsius", "temp_c", 1, "GPU temperature"),
    ("vram_temperature_celsius", "vram_temp_c", 1, "Temperature of the GPU's memory"),
    ("util_percent", "gpu_util_pct", 1, "GPU utilisation"),
    ("memory_util_percent", "mem_util_pct", 1, "Share of the GPU's memory in use"),
    ("memory_used_bytes", "mem_used_mb", MEBIBYTE, "GPU memory in use"),
    ("memory_total_bytes", "mem_total_mb", MEBIBYTE, "GPU memory"),
    ("fan_speed_percent", "fan_speed_pct", 1, "Fan speed"),
    ("power_draw_watts", "power_draw_w", 1, "Power draw"),
)
SYSTEM_GAUGES = (
    ("memory_total_bytes", "mem_total_mb", "Memory"),
    ("memory_used_bytes", "mem_used_mb", "Memory in use"),
    ("memory_free_bytes", "mem_free_mb", "Memory that is available"),
    ("swap_total_bytes", "swap_total_mb", "Swap space"),
    ("swap_used_bytes", "swap_used_mb", "Swap space in use"),
)


class _Once(Collector):
    """Gives out what was collected already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(families: Iterable[Metric]) -> bytes:
    """Write metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(families))
    return generate_latest(registry)


def machine(sample: Sample) -> Iterator[Metric]:
    """Show what was seen of the machine, by llama-swap's names."""
    system = sample.system
    cores = GaugeMetricFamily("llamaswap_cpu_util_percent", "CPU utilisation per core", labels=["core"])
    for core, percent in enumerate(system["cpu_util_per_core"]):
        cores.add_metric([str(core)], percent)
    yield cores
    for name, key, about in SYSTEM_GAUGES:
        yield GaugeMetricFamily(f"llamaswap_{name}", about, value=system[key] * MEBIBYTE)
    loads = GaugeMetricFamily("llamaswap_load_average", "Load average", labels=["interval"])
    for minutes in (1, 5, 15):
        loads.add_metric([f"{minutes}m"], system[f"load_avg_{minutes}"])
    yield loads
    network = CounterMetricFamily(
        "llamaswap_network_bytes", "Bytes through each network interface", labels=["interface", "direction"]
    )
    for one in system["net_io"]:
        network.add_metric([one["name"], "recv"], one["bytes_recv"])
        network.add_metric([one["name"], "sent"], one["bytes_sent"])
    yield network
    for name, key, factor, about in GPU_GAUGES if sample.gpus else ():
        gauge = Metric(f"llamaswap_gpu_{name}", about, "gauge")
        for gpu in sample.gpus:
            labels = {"id": str(gpu["id"]), "name": gpu["name"]} | (
                {"uuid": gpu["uuid"]} if gpu["uuid"] else {}
            )
            gauge.add_sample(gauge.name, labels, gpu[key] * factor)
        yield gauge


def models(tallies: Tallies, snapshot: Snapshot, dropped: int) -> Iterator[Metric]:
    """Show what was counted, and who waits and is served now.

    Args:
        tallies: The counts.
        snapshot: The engine as it is now.
        dropped: How many requests were not recorded.
    """
    yield _counter(
        "requests",
        "Requests that are over",
        ["model", "path", "status"],
        [((model, path, str(status)), count) for (model, path, status), count in tallies.requests.items()],
    )
    yield _histogram("queue_seconds", "Time that requests waited for their model", tallies.queue)
    yield _histogram("ttfb_seconds", "Time from a request's arrival to its answer's head", tallies.first_byte)
    waiting = GaugeMetricFamily("swapcore_queue_depth", "Requests that wait", labels=["model"])
    serving = GaugeMetricFamily("swapcore_inflight", "Requests that are being served", labels=["model"])
    for view in snapshot.upstreams:
        waiting.add_metric([view.model], view.waiting)
        serving.add_metric([view.model], view.leases)
    yield waiting
    yield serving
    yield _counter(
        "swaps", "Starts of a model, for a request or a preload", ["model", "reason"], tallies.swaps.items()
    )
    yield _histogram("load_seconds", "Time from a model's start until it was ready", tallies.loads)
    yield _counter(
        "evictions",
        "Stops of a model, by reason, and for whom if it made room",
        ["model", "reason", "making_room_for"],
        tallies.evictions.items(),
    )
    yield _counter(
        "start_failures",
        "Starts that failed",
        ["model"],
        [((model,), count) for model, count in tallies.start_failures.items()],
    )
    yield _counter(
        "tokens", "Tokens read, written and found cached", ["model", "kind"], tallies.tokens.items()
    )
    yield _counter(
        "overdue",
        "Requests that waited longer than their patience",
        ["model"],
        [((model,), count) for model, count in tallies.overdue.items()],
    )
    yield CounterMetricFamily(
        "swapcore_requests_unrecorded", "Requests too many to be recorded", value=dropped
    )


def _counter(name: str, about: str, labels: list[str], counts: Iterable[tuple[Sequence[str], int]]) -> Metric:
    family = CounterMetricFamily(f"swapcore_{name}", about, labels=labels)
    for values, count in counts:
        family.add_metric(list(values), count)
    return family


def _histogram(name: str, about: str, spreads: Mapping[str, Spread]) -> Metric:
    family = HistogramMetricFamily(f"swapcore_{name}", about, labels=["model"])
    for model, spread in spreads.items():
        buckets, below = [], 0
        for edge, count in zip((*map(str, WAITS), "+Inf"), spread.counts, strict=True):
            below += count
            buckets.append((edge, float(below)))
        family.add_metric([model], buckets, spread.total)
    return family
