"""What kind of machine is this?

In the form of llama-swap's `/api/hardware`, of which other programs compare
reports; what cannot be found out is null.
"""

import functools
import os
import platform
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from swapcore_http.metrics.gpus import nvml, text

__all__ = ["detect", "detected"]

ARCHITECTURES = {
    "amd64": "x86_64",
    "x86_64": "x86_64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "armv7",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
FAMILIES = {"linux": "linux", "darwin": "macos"}

SYS = Path("/sys")
PROC = Path("/proc")
ETC = Path("/etc")


@functools.cache
def detected() -> dict[str, Any]:
    """Find out what there is, once for the life of the process."""
    return detect()


def detect(sys_root: Path = SYS, proc: Path = PROC, etc: Path = ETC) -> dict[str, Any]:
    """Find out what there is; this takes a while.

    Args:
        sys_root: Where Linux shows devices.
        proc: Where it shows the processor.
        etc: Where it says what it is.
    """
    import psutil  # noqa: PLC0415 - who never asks never waits for it.

    machine = platform.machine()
    family = FAMILIES.get(sys.platform, "other")
    release = _release(etc)
    cpu = _cpu(proc)
    accelerators = [*_nvidia(), *_amd(sys_root)]
    return {
        "schema_version": 1,
        "captured_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "capture": {
            "scope": "inference_host",
            "method": "detected",
            "detector": {"name": "swapcore", "version": version("swapcore")},
        },
        "architecture": {"name": ARCHITECTURES.get(machine.lower(), "other"), "raw_name": machine or None},
        "operating_system": {
            "family": family,
            "name": release.get("NAME") or platform.system() or None,
            "version": release.get("VERSION_ID") or (platform.mac_ver()[0] or None),
            "kernel": platform.release() or None,
            **({"raw_family": sys.platform} if family == "other" else {}),
        },
        "environment": {"kind": _environment(proc), "name": None, "version": None},
        "cpu": {
            "vendor": cpu.get("vendor_id"),
            "model": cpu.get("model name"),
            "socket_count": _sockets(proc),
            "physical_core_count": psutil.cpu_count(logical=False),
            "logical_thread_count": psutil.cpu_count(),
        },
        "memory": {"capacity_bytes": min(psutil.virtual_memory().total, _limit(sys_root))},
        "accelerators": [{"index": index} | one for index, one in enumerate(accelerators)],
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _release(etc: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in _read(etc / "os-release").splitlines())
    return {key: value.strip("\"'") for key, _, value in pairs}


def _cpu(proc: Path) -> dict[str, str]:
    first, _, _ = _read(proc / "cpuinfo").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _sockets(proc: Path) -> int | None:
    ids = set(re.findall(r"^physical id\s*:\s*(\d+)", _read(proc / "cpuinfo"), re.MULTILINE))
    return len(ids) or None


def _environment(proc: Path) -> str:
    if "microsoft" in _read(proc / "version").lower():
        return "wsl"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or os.environ.get("container"):  # noqa: SIM112
        return "container"
    if "hypervisor" in _cpu(proc).get("flags", "").split():
        return "virtual_machine"
    return "native" if sys.platform == "linux" else "unknown"


def _limit(sys_root: Path) -> int:
    """Return what the memory of this container is limited to; something huge if it is not."""
    for name in ("fs/cgroup/memory.max", "fs/cgroup/memory/memory.limit_in_bytes"):
        limit = _read(sys_root / name)
        if limit.isdigit() and int(limit) > 0:
            return int(limit)
    return 2**63


def _accelerator(vendor: str, model: str | None, size: int | None, **more: Any) -> dict[str, Any]:
    return {
        "kind": "gpu",
        "vendor": vendor,
        "model": model,
        "architecture": more.get("architecture"),
        "memory": {"kind": "unknown" if size is None else "dedicated", "capacity_bytes": size},
        "driver": more.get("driver"),
        "power_limit_watts": more.get("power_limit"),
    }


def _nvidia() -> list[dict[str, Any]]:
    library = nvml()
    if library is None:
        return []
    found = []
    driver = {"name": "nvidia", "version": text(library.nvmlSystemGetDriverVersion())}
    for number in range(library.nvmlDeviceGetCount()):
        handle = library.nvmlDeviceGetHandleByIndex(number)
        try:
            limit = library.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
        except library.NVMLError:
            limit = None
        name, memory = text(library.nvmlDeviceGetName(handle)), library.nvmlDeviceGetMemoryInfo(handle)
        found.append(_accelerator("NVIDIA", name, memory.total, driver=driver, power_limit=limit))
    return found


def _amd(sys_root: Path) -> list[dict[str, Any]]:
    found = []
    for device in sorted(sys_root.glob("class/drm/card*/device")):
        # Connectors have the card's device as well.
        if _read(device / "vendor") != "0x1002" or "-" in device.parent.name:
            continue
        size = _read(device / "mem_info_vram_total")
        driver: Mapping[str, Any] = {
            "name": "amdgpu",
            "version": _read(sys_root / "module/amdgpu/version") or None,
        }
        name = _read(device / "product_name") or None
        found.append(_accelerator("AMD", name, int(size) if size.isdigit() else None, driver=driver))
    return found
