"""Does a trace go on through queue, load and forward, and on to the upstream?"""

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from swapcore_http import otel
from swapcore_http.activity.loads import Loads
from swapcore_http.otel import CannotTraceError, Tracing, set_up_tracing
from swapcore_http.routes.context import CONTEXT
from tests.http.serving import Served, fake, serving

pytestmark = pytest.mark.anyio

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
INCOMING = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
# Its answer says which header fields have come.
ECHO = "/infill"


@pytest.fixture
def seen() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.shutdown()


def trace(served: Served, seen: InMemorySpanExporter) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(seen))
    context = served.runner.app[CONTEXT]
    context.tracing = Tracing(provider.get_tracer("test"), context.recorder.loads)


def by_name(seen: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    spans = {span.name: span for span in seen.get_finished_spans()}
    seen.clear()
    return spans


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    assert format(context.trace_id, "032x") == TRACE
    return context.span_id


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


async def test_an_incoming_trace_goes_on_to_the_upstream(seen: InMemorySpanExporter) -> None:
    async with serving(fake("a")) as served:
        trace(served, seen)
        _, _, answer = await served.ask("POST", ECHO, {"model": "a"}, headers=INCOMING)
        spans = by_name(seen)
    server, queue, load, forward = (spans[name] for name in ("POST /infill", "queue", "load", "forward"))
    assert len(spans) == 4
    assert parent_of(server) == int(PARENT, 16)
    assert parent_of(queue) == parent_of(forward) == id_of(server)
    assert parent_of(load) == id_of(queue)
    assert (server.kind, forward.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    times = [queue.start_time, load.start_time, load.end_time, queue.end_time, forward.end_time]
    # They are taken one by one from another clock.
    assert all((one or 0) <= (other or 0) + 1_000_000 for one, other in pairwise(times))
    got = [value for name, value in answer["headers"] if name.lower() == "traceparent"]
    assert got == [f"00-{TRACE}-{id_of(forward):016x}-01"]


async def test_a_ready_model_needs_no_load(seen: InMemorySpanExporter) -> None:
    async with serving(fake("a")) as served:
        await served.chat("a")
        trace(served, seen)
        await served.chat("a")
        spans = by_name(seen)
    assert set(spans) == {"POST /v1/chat/completions", "queue", "forward"}
    server = spans["POST /v1/chat/completions"]
    assert server.parent is None
    assert server.attributes is not None
    assert server.attributes["http.response.status_code"] == 200
    assert server.status.status_code is StatusCode.UNSET


async def test_a_refusal_ends_all_spans(seen: InMemorySpanExporter) -> None:
    async with serving(fake("a", flags={"exit_at_start": 1})) as served:
        trace(served, seen)
        await served.chat("a")
        spans = by_name(seen)
    assert set(spans) == {"POST /v1/chat/completions", "queue"}
    assert spans["POST /v1/chat/completions"].status.status_code is StatusCode.ERROR


async def test_without_tracing_a_trace_passes_untouched() -> None:
    async with serving(fake("a")) as served:
        _, _, answer = await served.ask("POST", ECHO, {"model": "a"}, headers=INCOMING)
    assert ["traceparent", INCOMING["traceparent"]] in answer["headers"]


def test_it_can_be_set_up_and_shut_down() -> None:
    tracing = set_up_tracing(Loads())
    assert tracing._own is not None
    tracing.shut_down()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(CannotTraceError, match=r"pip install '\.\[http,otel\]'"):
        otel.set_up_tracing(Loads())


def test_the_command_line_says_what_is_missing(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("otel: {enabled: true}\nmodels: {a: {cmd: sleep 9, proxy: 'http://127.0.0.1:1'}}\n")
    arguments = ["serve", "--config", str(config), "--listen", "127.0.0.1:0"]
    script = (
        "import sys; sys.modules['opentelemetry'] = None; from swapcore_http.cli import main; "
        f"sys.exit(main({arguments!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "pip install '.[http,otel]'" in done.stderr
    assert "Traceback" not in done.stderr
