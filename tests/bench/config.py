"""How long does a configuration take to load, and `check` in all?

It is processor time that is counted, so that what else the machine does shows
little, with the garbage collector set as the command sets it; and `check` is
timed as it is once installed: compiled.
"""

import compileall
import gc
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from swapcore_http.cli import GARBAGE
from swapcore_http.config import loads, source
from tests.bench.measure import ROOT, Figure, figure
from tests.bench.targets import Options

ROUNDS = 15


def config(models: int) -> str:
    """Write a configuration as large ones look: macros, ports, aliases, and a matrix over all models."""
    parts = [
        "macros:",
        "  bin: /opt/llama.cpp/llama-server",
        "  common: --host 127.0.0.1 --port ${PORT} --no-webui",
        '  serve: "${bin} ${common} --ctx-size ${ctx}"',
        "  gpu: 99",
        "models:",
    ]
    parts[2:2] = ["  ctx: 32768"]
    parts += [
        f"""\
  model-{number:03}:
    name: Model number {number}
    cmd: |
      # started on demand
      ${{serve}}
        --model /models/${{MODEL_ID}}.gguf
        --n-gpu-layers ${{gpu}}
    macros:
      ctx: {1024 * (1 + number % 64)}
    aliases: [alias-{number}, "small:{number}"]
    env:
      - CUDA_VISIBLE_DEVICES={number % 8}
    ttl: {60 + number}
    metadata: {{context: "${{ctx}}", tags: [chat, "${{MODEL_ID}}"]}}"""
        for number in range(models)
    ]
    names = [f"model-{number:03}" for number in range(models)]
    parts += ["matrix:", "  sets:"]
    for start in range(0, models, 10):
        left, right = (" | ".join(names[at : at + 5]) for at in (start, start + 5))
        parts.append(f"    set-{start}: ({left}) & ({right})")
    return "\n".join(parts) + "\n"


def timed(text: str) -> float:
    """Return the milliseconds that loading takes."""
    begun = time.process_time()
    loaded = loads(text, env={})
    took = (time.process_time() - begun) * 1000
    assert loaded.config.models
    return took


def run(_: Options) -> Iterator[Figure]:
    assert vars(source)["CParser"] is not None, "the C parser is not installed"
    large, small = config(500), config(10)
    gc.set_threshold(GARBAGE, 20, 20)
    timed(small)
    yield figure("config: 500 models", [timed(large) for _ in range(ROUNDS)], "ms", limit=500)
    yield figure("config: 10 models", [timed(small) for _ in range(ROUNDS)], "ms", limit=20)
    for package in ("swapcore", "swapcore_http"):
        compileall.compile_dir(ROOT / package, quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(small)
        command = [sys.executable, "-m", "swapcore_http.cli", "check", "--config", str(path)]
        yield figure("config: check, in all", [in_all(command) for _ in range(ROUNDS)], "ms", limit=250)


def in_all(command: list[str]) -> float:
    """Return the milliseconds that a command takes from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000
