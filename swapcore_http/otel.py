"""How does a request's trace go on through its wait, its model's load and its answer?

By OpenTelemetry, the extra `otel`, which is imported only if the
configuration's `otel.enabled` asks for it. A program that embeds this server
and has set up OpenTelemetry itself gets the spans where it wants them;
otherwise they go where the `OTEL_*` variables of the environment say.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import define, field

from swapcore import SwapcoreError
from swapcore_http.activity.loads import Loads
from swapcore_http.activity.recording import Recording

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

__all__ = ["CannotTraceError", "Trace", "Tracing", "set_up_tracing"]

NAME = "swapcore"
BILLION = 1_000_000_000
SERVER_ERROR = 500


class CannotTraceError(SwapcoreError):
    """Requests cannot be traced; the text says what is missing."""


def set_up_tracing(loads: Loads) -> "Tracing":
    """Make what traces requests.

    Raises:
        CannotTraceError: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import trace  # noqa: PLC0415 - see the module's docstring.

        provider: Any = trace.get_tracer_provider()
        if not isinstance(provider, trace.ProxyTracerProvider):
            return Tracing(provider.get_tracer(NAME), loads)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        message = f"otel.enabled needs OpenTelemetry ({error}): pip install '.[http,otel]'"
        raise CannotTraceError(message) from error
    resource = Resource({SERVICE_NAME: NAME}).merge(OTELResourceDetector().detect())
    own = TracerProvider(resource=resource, shutdown_on_exit=False)
    own.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(own.get_tracer(NAME), loads, own)


@define(eq=False, repr=False)
class Tracing:
    """Traces the requests of one server."""

    _tracer: "Tracer"
    _loads: Loads
    _own: Any = None
    """The provider, if it is nobody else's."""

    def begin(self, fields: Mapping[str, str], method: str, recording: Recording) -> "Trace":
        """Begin the spans of a request that has just arrived.

        Args:
            fields: Its header fields, which may name the trace that it belongs to.
            method: Its method.
            recording: Its recording.
        """
        from opentelemetry import propagate  # noqa: PLC0415
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415

        parent = propagate.extract({name.lower(): value for name, value in fields.items()})
        attributes = {
            "http.request.method": method,
            "url.path": recording.path,
            "gen_ai.request.model": recording.model,
        }
        server = self._tracer.start_span(
            f"{method} {recording.path}",
            parent,
            SpanKind.SERVER,
            attributes,
            start_time=_ns(recording.arrived),
        )
        context = set_span_in_context(server)
        queue = self._tracer.start_span("queue", context, start_time=_ns(recording.arrived))
        return Trace(self._tracer, self._loads, server, queue)

    def shut_down(self) -> None:
        """Send what has not been sent; this may take a while."""
        if self._own is not None:
            self._own.shutdown()


@define(eq=False, repr=False)
class Trace:
    """The spans of one request: `queue` with `load` in it, then `forward`, all in the server's."""

    _tracer: "Tracer"
    _loads: Loads
    _server: "Span"
    _queue: "Span | None"
    _forward: "Span | None" = field(default=None, init=False)

    def leased(self, recording: Recording) -> dict[str, str]:
        """Go on with `forward`, and return the header fields by which the upstream continues the trace."""
        from opentelemetry import propagate  # noqa: PLC0415
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415

        self._wait_over(recording)
        attributes: dict[str, str | int] = {"gen_ai.request.model": recording.model}
        attributes["swapcore.run"] = recording.run
        context = set_span_in_context(self._server)
        self._forward = self._tracer.start_span(
            "forward", context, SpanKind.CLIENT, attributes, start_time=_ns(recording.forwarded)
        )
        fields: dict[str, str] = {}
        propagate.inject(fields, set_span_in_context(self._forward))
        return fields

    def end(self, recording: Recording) -> None:
        """End all that has begun, with what came of the request."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415

        self._wait_over(recording)
        failed = recording.status >= SERVER_ERROR or bool(recording.error)
        for span in (self._forward, self._server):
            if span is not None:
                span.set_attribute("http.response.status_code", recording.status)
                if failed:
                    span.set_status(StatusCode.ERROR, recording.error)
                span.end(_ns(recording.ended))

    def _wait_over(self, recording: Recording) -> None:
        queue, self._queue = self._queue, None
        if queue is None:
            return
        until = recording.forwarded or recording.ended or time.monotonic()
        loading = self._loads.overlap(recording.run, recording.arrived, until)
        if loading is not None:
            from opentelemetry.trace import set_span_in_context  # noqa: PLC0415

            began, ready = loading
            load = self._tracer.start_span("load", set_span_in_context(queue), start_time=_ns(began))
            load.set_attribute("gen_ai.request.model", recording.model)
            load.end(_ns(ready))
        queue.end(_ns(until))


def _ns(moment: float | None) -> int:
    """Turn a moment of the monotonic clock into nanoseconds since 1970."""
    now = time.time_ns()
    return now if moment is None else now - round((time.monotonic() - moment) * BILLION)
