"""Do monitoring systems get all that is counted, in forms that they can read?"""

import asyncio
import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from swapcore_http.config.recording import PerformanceConfig
from tests.http.serving import Served, answering_at, fake, read_request, scripted, serving, unrun

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[3] / "examples"


async def samples(served: Served) -> dict[str, float]:
    """Ask for the metrics; samples by name and sorted labels."""
    # What has been served is counted once it is recorded.
    await served.ask("GET", "/api/metrics/activity")
    status, headers, text = await served.ask("GET", "/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_what_is_counted() -> None:
    async with serving(fake("a"), fake("b"), fake("c", flags={"exit_at_start": 1})) as served:
        await served.chat("a")
        await served.chat("a")
        await served.chat("b")
        await served.chat("c")
        found = await samples(served)
    chat = "path=/v1/chat/completions"
    expected = {
        f"swapcore_requests_total model=a {chat} status=200": 2,
        f"swapcore_requests_total model=b {chat} status=200": 1,
        f"swapcore_requests_total model=c {chat} status=502": 1,
        "swapcore_swaps_total model=a reason=request": 1,
        "swapcore_swaps_total model=b reason=request": 1,
        "swapcore_evictions_total making_room_for=b model=a reason=evict": 1,
        "swapcore_start_failures_total model=c": 1,
        "swapcore_tokens_total kind=input model=a": 2,
        "swapcore_tokens_total kind=output model=a": 6,
        "swapcore_queue_seconds_count model=a": 2,
        "swapcore_queue_seconds_bucket le=+Inf model=c": 1,
        "swapcore_ttfb_seconds_count model=b": 1,
        "swapcore_load_seconds_count model=b": 1,
        "swapcore_queue_depth model=a": 0,
        "swapcore_inflight model=b": 0,
        "swapcore_requests_unrecorded_total": 0,
    }
    assert {name: found[name] for name in expected} == expected
    assert found["llamaswap_memory_total_bytes"] > 0
    assert "swapcore_ttfb_seconds_count model=c" not in found


async def test_who_waits_and_is_served_now() -> None:
    async with serving(fake("a"), fake("b")) as served:
        asked = [asyncio.create_task(served.chat("a", gate="g"))]
        await served.until_leased("a")
        asked.append(asyncio.create_task(served.chat("b")))
        await served.until_waiting("b")
        found = await samples(served)
        assert found["swapcore_inflight model=a"] == 1
        assert found["swapcore_queue_depth model=b"] == 1
        await served.open_gate("a", "g")
        await asyncio.gather(*asked)


async def test_without_looking_at_the_machine() -> None:
    async with serving(fake("a"), performance=PerformanceConfig(disabled=True)) as served:
        assert not [name for name in await samples(served) if name.startswith("llamaswap_")]
        status, _, answer = await served.ask("GET", "/api/performance")
        assert (status, answer) == (503, {"enabled": False})


@pytest.mark.parametrize("on", [True, False])
async def test_the_upstreams_own_metrics(*, on: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        body = b"llamacpp:tokens_total 5\n" if b" /base/metrics " in request else b"{}"
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    async with (
        scripted(answer) as url,
        serving(unrun("a"), fake("b"), launch=answering_at(url + "/base"), upstream_metrics=on) as served,
    ):
        await served.chat("a")
        assert ("llamacpp:tokens_total model=a" in await samples(served)) == on


async def test_performance() -> None:
    async with serving(fake("a")) as served:
        _, _, answer = await served.ask("GET", "/api/performance")
        assert answer["enabled"] is True
        (row,) = answer["sys_stats"]
        assert row["timestamp"].endswith("Z")
        _, _, answer = await served.ask("GET", f"/api/performance?after={row['timestamp']}")
        assert len(answer["sys_stats"]) <= 1
        _, _, answer = await served.ask("GET", "/api/performance?after=2999-01-01T00:00:00Z")
        assert answer["sys_stats"] == []
        status, _, _ = await served.ask("GET", "/api/performance?after=yesterday")
        assert status == 400


async def test_hardware() -> None:
    async with serving(fake("a")) as served:
        _, _, first = await served.ask("GET", "/api/hardware")
        _, _, second = await served.ask("GET", "/api/hardware")
    assert first == second
    assert list(first) == [
        "schema_version", "captured_at", "capture", "architecture", "operating_system", "environment", "cpu",
        "memory", "accelerators",
    ]  # fmt: skip


async def test_the_dashboard_shows_only_what_there_is() -> None:
    dashboard = json.loads((EXAMPLES / "grafana.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(expressions) >= 15
    shown = {name for each in expressions for name in re.findall(r"\b(?:swapcore|llamaswap)_\w+", each)}
    async with serving(fake("a")) as served:
        await served.chat("a")
        _, _, text = await served.ask("GET", "/metrics")
    names = set(re.findall(r"^# TYPE (\w+)", text.decode(), re.MULTILINE))
    names |= {f"{name}_bucket" for name in names}
    assert {name for name in shown - names if not name.startswith("llamaswap_gpu_")} == set()
