"""Does every configuration that people are shown start for real, and answer for each of its models?"""

import os
import re
from pathlib import Path

import attrs
import pytest

from swapcore_http.config import Config, dumps, load, loads
from tests.http import fake_upstream
from tests.http.programs import program

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown() -> dict[str, Config]:
    """Find all complete configurations, those with models, in examples and README."""
    found = {path.name: load(path, env={}).config for path in sorted((ROOT / "examples").glob("*.y*ml"))}
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    for number, block in enumerate(block for block in blocks if "models:\n" in block):
        found[f"README {number + 1}"] = loads(block, env={}).config
    return found


def on_fakes(config: Config) -> str:
    """Write a configuration with a fake upstream in the place of each model's program."""
    models = [
        attrs.evolve(
            model,
            cmd=fake_upstream.command(
                port="${PORT}", name=model.check_model or model.id, health_path=model.check_endpoint
            ),
            cmd_stop="",
            after_stop="",
        )
        for model in config.as_written.values()
    ]
    # Others test at the same time.
    return dumps(attrs.evolve(config, models=models, start_port=20_000 + os.getpid() % 10_000))


SHOWN = shown()


def test_there_are_some() -> None:
    assert list(SHOWN) == ["config.yaml", "README 1"]


@pytest.mark.anyio
@pytest.mark.parametrize("config", SHOWN.values(), ids=SHOWN)
async def test_it_starts_and_answers(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(on_fakes(config), encoding="utf-8")
    async with program("serve", "--config", str(path), "--listen", "127.0.0.1:0") as server:
        line = await server.until_said("listening on")
        server.base_url = line.split("listening on ")[1].split(",")[0]
        for name in (name for model in config.models.values() for name in (model.id, *model.aliases)):
            async with server.chat(name) as answer:
                assert answer.status == 200, await answer.text()
                assert "data: [DONE]" in await answer.text()
        server.signal()
        assert await server.ends() == 0
