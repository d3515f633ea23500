"""What do NVIDIA's GPUs do at this moment?

By nvidia-ml-py, which is imported and set up at the first look; without it,
or without its driver, there are none.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["look_at_gpus", "nvml"]

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

MEBIBYTE = 1024 * 1024
MEMORY_TEMPERATURE = 82
"""NVML's number of the field with the temperature of a GPU's memory."""


@functools.cache
def nvml() -> Any:
    """Return NVIDIA's library, ready to be asked; `None` if there is none."""
    try:
        import pynvml  # type: ignore[import-not-found] # noqa: PLC0415

        pynvml.nvmlInit()
    except ImportError:
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, there is nothing to be asked.
        logger.debug("NVIDIA's library cannot be used: %s", error)
        return None
    return pynvml


def look_at_gpus() -> list[dict[str, Any]]:
    """Return one row per GPU, as in llama-swap's `/api/performance`, but for the time."""
    library = nvml()
    if library is None:
        return []
    rows = []
    for number in range(_or(0, library.nvmlDeviceGetCount)):
        handle = _or(None, library.nvmlDeviceGetHandleByIndex, number)
        if handle is not None:
            rows.append(_row(library, number, handle))
    return rows


def _row(library: Any, number: int, handle: Any) -> dict[str, Any]:
    use = _or(None, library.nvmlDeviceGetUtilizationRates, handle)
    memory = _or(None, library.nvmlDeviceGetMemoryInfo, handle)
    return {
        "id": number,
        "name": text(_or("", library.nvmlDeviceGetName, handle)),
        "uuid": text(_or("", library.nvmlDeviceGetUUID, handle)),
        "temp_c": _or(0, library.nvmlDeviceGetTemperature, handle, library.NVML_TEMPERATURE_GPU),
        "vram_temp_c": _or(0, _memory_temperature, library, handle),
        "gpu_util_pct": 0 if use is None else use.gpu,
        "mem_util_pct": 0 if use is None else use.memory,
        "mem_used_mb": 0 if memory is None else memory.used // MEBIBYTE,
        "mem_total_mb": 0 if memory is None else memory.total // MEBIBYTE,
        "fan_speed_pct": _or(0, library.nvmlDeviceGetFanSpeed, handle),
        "power_draw_w": _or(0, library.nvmlDeviceGetPowerUsage, handle) / 1000,
    }


def _memory_temperature(library: Any, handle: Any) -> int:
    (field,) = library.nvmlDeviceGetFieldValues(handle, [MEMORY_TEMPERATURE])
    return int(field.value.uiVal) if field.nvmlReturn == library.NVML_SUCCESS else 0


def text(value: str | bytes) -> str:
    """Return what older versions give as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _or(otherwise: Value, ask: Callable[..., Value], *arguments: Any) -> Value:
    """Ask something that this GPU may not know."""
    try:
        return ask(*arguments)
    except Exception:  # noqa: BLE001 - each driver has errors of its own for that.
        return otherwise
