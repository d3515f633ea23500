"""Is the machine shown as llama-swap shows it, and in its names to Prometheus?"""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from swapcore_http.metrics import gpus, hardware, performance
from swapcore_http.metrics.performance import Monitor, Sample
from swapcore_http.metrics.prometheus import exposition, machine

GPU = {
    "id": 0, "name": 'RTX "\\\n', "uuid": "GPU-1", "temp_c": 50, "vram_temp_c": 60, "gpu_util_pct": 70,
    "mem_util_pct": 5, "mem_used_mb": 1024, "mem_total_mb": 2048, "fan_speed_pct": 30, "power_draw_w": 99.5,
}  # fmt: skip
SYSTEM = {
    "cpu_util_per_core": [1.5, 99.0], "mem_total_mb": 3, "mem_used_mb": 2, "mem_free_mb": 1,
    "swap_total_mb": 4, "swap_used_mb": 0, "load_avg_1": 0.5, "load_avg_5": 0.25, "load_avg_15": 0.125,
    "net_io": [{"name": "eth0", "bytes_recv": 10, "bytes_sent": 20}],
}  # fmt: skip
MIB = 1048576.0


def test_the_names_are_llama_swaps() -> None:
    text = exposition(machine(Sample(0.0, SYSTEM, [GPU, GPU | {"id": 1, "name": "B", "uuid": ""}]))).decode()
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    first = r'{id="0",name="RTX \"\\\n",uuid="GPU-1"}'
    second = '{id="1",name="B"}'
    assert {name: float(value) for name, value in samples.items()} == {
        'llamaswap_cpu_util_percent{core="0"}': 1.5,
        'llamaswap_cpu_util_percent{core="1"}': 99.0,
        "llamaswap_memory_total_bytes": 3 * MIB,
        "llamaswap_memory_used_bytes": 2 * MIB,
        "llamaswap_memory_free_bytes": MIB,
        "llamaswap_swap_total_bytes": 4 * MIB,
        "llamaswap_swap_used_bytes": 0.0,
        'llamaswap_load_average{interval="1m"}': 0.5,
        'llamaswap_load_average{interval="5m"}': 0.25,
        'llamaswap_load_average{interval="15m"}': 0.125,
        'llamaswap_network_bytes_total{direction="recv",interface="eth0"}': 10.0,
        'llamaswap_network_bytes_total{direction="sent",interface="eth0"}': 20.0,
        **{
            f"llamaswap_gpu_{name}{labels}": value
            for labels in (first, second)
            for name, value in {
                "temperature_celsius": 50.0,
                "vram_temperature_celsius": 60.0,
                "util_percent": 70.0,
                "memory_util_percent": 5.0,
                "memory_used_bytes": 1024 * MIB,
                "memory_total_bytes": 2048 * MIB,
                "fan_speed_percent": 30.0,
                "power_draw_watts": 99.5,
            }.items()
        },
    }
    assert text.count("# TYPE") == text.count("# HELP") == 16
    assert "# TYPE llamaswap_network_bytes_total counter" in text
    assert "# TYPE llamaswap_gpu_util_percent gauge" in text


def test_this_machine() -> None:
    sample = performance.look(0.01)
    assert set(sample.system) == set(SYSTEM)
    assert sample.system["mem_total_mb"] > 0
    assert all(0 <= percent <= 100 for percent in sample.system["cpu_util_per_core"])
    assert "lo" not in [one["name"] for one in sample.system["net_io"]]


class FakeNvml:
    """NVIDIA's library with one GPU that does not know everything."""

    NVML_TEMPERATURE_GPU = 0
    NVML_SUCCESS = 0

    class NVMLError(Exception):
        pass

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802 - the library's names.
        return "555.1"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetName": b"RTX",
            "nvmlDeviceGetUUID": "GPU-1",
            "nvmlDeviceGetTemperature": 50,
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=70, memory=5),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=1024 * 1048576, total=2048 * 1048576),
            "nvmlDeviceGetPowerUsage": 99_500,
            "nvmlDeviceGetEnforcedPowerLimit": 350_000,
        }

        def answer(*_: object) -> Any:
            if name not in answers:
                raise self.NVMLError("not supported")
            return answers[name]

        return answer


def test_a_gpu_that_does_not_know_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "nvml", FakeNvml)
    assert gpus.look_at_gpus() == [GPU | {"name": "RTX", "vram_temp_c": 0, "fan_speed_pct": 0}]


def test_no_library_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "nvml", lambda: None)
    assert gpus.look_at_gpus() == []


@pytest.mark.anyio
async def test_the_last_hour_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [Monitor(every).samples.maxlen for every in (5.0, 7.0, 3600.0, 86400.0)] == [720, 514, 1, 1]


@pytest.mark.anyio
async def test_a_look_that_fails_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = 0
    done = anyio.Event()

    async def fail(*_: object) -> None:
        nonlocal tried
        tried += 1
        if tried == 3:
            done.set()
        raise OSError("no /proc here")

    monkeypatch.setattr(asyncio, "to_thread", fail)
    monkeypatch.setattr(performance, "FIRST_AFTER", 0.0)
    async with Monitor(0.001).watching():
        with anyio.fail_after(60):
            await done.wait()
    assert len(caplog.records) == 1


# Hardware -----------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_linux_machine_with_gpus_of_both_kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hardware, "nvml", FakeNvml)
    write(tmp_path / "etc/os-release", 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\n')
    cpu = "vendor_id\t: GenuineIntel\nmodel name\t: Xeon\nphysical id\t: {}\nflags\t: fpu hypervisor\n\n"
    write(tmp_path / "proc/cpuinfo", cpu.format(0) + cpu.format(1))
    write(tmp_path / "sys/fs/cgroup/memory.max", "1048576\n")
    amd = tmp_path / "sys/class/drm/card1/device"
    write(amd / "vendor", "0x1002\n")
    write(amd / "mem_info_vram_total", "1000\n")
    write(tmp_path / "sys/class/drm/card0/device/vendor", "0x10de\n")
    found = hardware.detect(tmp_path / "sys", tmp_path / "proc", tmp_path / "etc")
    assert found["schema_version"] == 1
    assert found["capture"]["scope"] == "inference_host"
    assert found["capture"]["method"] == "detected"
    assert found["operating_system"]["name"] == "Debian GNU/Linux"
    assert found["operating_system"]["version"] == "12"
    assert (found["cpu"]["vendor"], found["cpu"]["model"]) == ("GenuineIntel", "Xeon")
    assert found["cpu"]["socket_count"] == 2
    assert found["memory"] == {"capacity_bytes": 1048576}
    assert found["accelerators"] == [
        {
            "index": 0, "kind": "gpu", "vendor": "NVIDIA", "model": "RTX", "architecture": None,
            "memory": {"kind": "dedicated", "capacity_bytes": 2048 * 1048576},
            "driver": {"name": "nvidia", "version": "555.1"}, "power_limit_watts": 350.0,
        },
        {
            "index": 1, "kind": "gpu", "vendor": "AMD", "model": None, "architecture": None,
            "memory": {"kind": "dedicated", "capacity_bytes": 1000},
            "driver": {"name": "amdgpu", "version": None}, "power_limit_watts": None,
        },
    ]  # fmt: skip


def test_a_machine_that_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hardware, "nvml", lambda: None)
    found = hardware.detect(tmp_path, tmp_path, tmp_path)
    assert found["accelerators"] == []
    assert found["cpu"]["model"] is None
    assert found["cpu"]["socket_count"] is None
    assert found["memory"]["capacity_bytes"] > 0
