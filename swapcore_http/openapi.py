"""How are the routes for operators described to programs, as OpenAPI has it?

One row for each route; a test compares them with the routes that there are.
The routes that models answer are not among them: what they take and give is
the models' own.
"""

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

__all__ = ["OPERATIONS", "Operation", "document"]

Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
WHOLE: Final[Schema] = {"type": "integer"}
TRUTH: Final[Schema] = {"type": "boolean"}
ANYTHING: Final[Schema] = {"type": "object"}
PERHAPS_TEXT: Final[Schema] = {"type": ["string", "null"]}
PERHAPS_NUMBER: Final[Schema] = {"type": ["number", "null"]}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
FLAG: Final[Schema] = {"type": "string", "enum": ["0", "1", "true", "false"]}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _object(*optional: str, **properties: Schema) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


MESSAGE = _object(msg=TEXT)
ERROR = _object(src=TEXT, error=_object(message=TEXT, type=TEXT, param=PERHAPS_TEXT, code=TEXT))
FLIGHT = _object(
    "metadata",
    id=TEXT,
    timestamp=TIME,
    model=TEXT,
    req_path=TEXT,
    method=TEXT,
    req_headers=ANYTHING,
    remote_ip=TEXT,
    resp_headers=ANYTHING,
    resp_bytes=WHOLE,
    elapsed_ms=WHOLE,
    metadata=ANYTHING,
)
WAITING = _object(
    ticket=WHOLE,
    request=PERHAPS_TEXT,
    model=TEXT,
    position=WHOLE,
    priority=WHOLE,
    waited=NUMBER,
    estimate=PERHAPS_NUMBER,
    due_in=PERHAPS_NUMBER,
)
MODEL = _object(
    model=TEXT,
    state=TEXT,
    leases=WHOLE,
    waiting=WHOLE,
    closed=TRUTH,
    stuck=TRUTH,
    wished=TRUTH,
    cooling_for=NUMBER,
)
RUNNING = _object(model=TEXT, state=TEXT, cmd=TEXT, proxy=TEXT, ttl=WHOLE, name=TEXT, description=TEXT)
PROFILE = _object(id=TEXT, description=TEXT, pins=ANYTHING)
EXPLANATION = _object(
    target=TEXT,
    evict=_list(TEXT),
    target_set=_list(TEXT),
    set=TEXT,
    cost=PERHAPS_NUMBER,
    reasons=_list(TEXT),
)
ACTIVITY = _object(data=_list(ANYTHING), page=WHOLE, limit=WHOLE, total=WHOLE, total_pages=WHOLE)
HEALTH = _object(ready=TRUTH, reasons=_list(TEXT), waiting=WHOLE, oldest_wait=NUMBER, loop_lag=NUMBER)


@frozen
class Operation:
    """One route, as it is described."""

    method: str
    path: str
    summary: str
    gives: Schema | str
    """The JSON that it answers with, or another type of content."""

    query: Mapping[str, Schema] = {}
    body: Schema | None = None
    """The JSON that it takes, if any."""

    status: tuple[int, ...] = (200,)
    """The statuses with which it gives that."""

    errors: tuple[int, ...] = ()
    """The statuses with which it may say what is wrong."""


NOW: Final[Mapping[str, Schema]] = {"now": FLAG}
PERIOD: Final[Mapping[str, Schema]] = {
    "model": TEXT,
    "start": TIME,
    "end": TIME,
    "min_id": {"type": "integer", "minimum": 1},
    "max_id": {"type": "integer", "minimum": 1},
    "limit": {"type": "integer", "minimum": 1, "maximum": 999},
    "page": {"type": "integer", "minimum": 1},
    "sort": TEXT,
    "order": {"type": "string", "enum": ["asc", "desc"]},
}

OPERATIONS: Final = (
    Operation("GET", "/health", "Whether the server lives", "text/plain"),
    Operation("GET", "/running", "The models that are resident", _object(running=_list(RUNNING))),
    Operation("GET", "/unload", "Unload all models", "text/plain", NOW, errors=(503,)),
    Operation("GET", "/metrics", "Counts for Prometheus", "text/plain"),
    Operation("GET", "/logs", "What was logged lately", "text/plain"),
    Operation(
        "GET", "/api/version", "Which version this is", _object(version=TEXT, commit=TEXT, build_date=TEXT)
    ),
    Operation("GET", "/api/health", "Whether it can serve, and why not", HEALTH, status=(200, 503)),
    Operation("GET", "/api/config", "The configuration that holds, without secrets", ANYTHING),
    Operation(
        "POST",
        "/api/config/reload",
        "Read the configuration again",
        _object(msg=TEXT, changes=ANYTHING, problems=_list(ANYTHING)),
        errors=(409, 422),
    ),
    Operation(
        "POST",
        "/api/explain",
        "What a request for a model would evict, and why",
        EXPLANATION,
        body=_object("running", model=TEXT, running={"type": ["array", "null"], "items": TEXT}),
        errors=(400, 404, 413),
    ),
    Operation("GET", "/api/events", "What happens, as it happens", "text/event-stream", errors=(503,)),
    Operation("GET", "/api/inflight", "The requests that are on their way", _object(requests=_list(FLIGHT))),
    Operation("POST", "/api/inflight/{id}/cancel", "End one of them", MESSAGE, errors=(404,)),
    Operation(
        "GET",
        "/api/queue",
        "Who waits for what, and for how long yet",
        _object(waiting=WHOLE, queue=_list(WAITING), models=_list(MODEL)),
        {"limit": {"type": "integer", "minimum": 0, "maximum": 100_000}},
        errors=(400,),
    ),
    Operation(
        "POST",
        "/api/models/load/{model}",
        "Load a model when there is room, and answer when it is ready",
        _object(msg=TEXT, model=TEXT),
        {"wait": FLAG},
        status=(200, 202),
        errors=(404, 422, 502, 503),
    ),
    Operation("POST", "/api/models/unload", "Unload all models", MESSAGE, NOW, errors=(503,)),
    Operation("POST", "/api/models/unload/{model}", "Unload a model", "text/plain", NOW, errors=(404, 503)),
    Operation(
        "GET",
        "/api/profiles",
        "The profiles, and which is active",
        _object(active=PERHAPS_TEXT, profiles=_list(PROFILE)),
    ),
    Operation(
        "PUT",
        "/api/profiles/active",
        "Make another profile the active one, or none",
        _object(active=PERHAPS_TEXT),
        body=_object(name=PERHAPS_TEXT),
        errors=(400, 404, 413),
    ),
    Operation("GET", "/api/metrics/activity", "What was asked", ACTIVITY, PERIOD, errors=(400, 503)),
    Operation("GET", "/api/metrics/stats", "Sums of that", ANYTHING, {"model": TEXT}, errors=(503,)),
    Operation("GET", "/api/captures/{id}", "One request and its answer", ANYTHING, errors=(400, 404)),
    Operation(
        "GET",
        "/api/performance",
        "The machine in the last hour",
        ANYTHING,
        {"after": TIME},
        status=(200, 503),
        errors=(400,),
    ),
    Operation("GET", "/api/hardware", "What machine it is", ANYTHING),
)
"""The routes for operators."""


def document(version: str) -> dict[str, Any]:
    """Write the description of all of them, as OpenAPI 3.1 has it."""
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _described(each)
    keys = {"bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"}}
    keys["header"] = {"type": "apiKey", "in": "header", "name": "x-api-key"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "swapcore", "version": version},
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}, "securitySchemes": keys},
        # Where there are no keys none is needed.
        "security": [{}, *({name: []} for name in keys)],
    }


def _described(operation: Operation) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    if isinstance(operation.gives, str):
        content: dict[str, Any] = {operation.gives: {"schema": TEXT}}
    else:
        content = {"application/json": {"schema": operation.gives}}
    responses = {
        str(status): {"description": "It cannot be done", "content": error}
        for status in (*operation.errors, 401, 403)
    }
    responses |= {str(status): {"description": "Done", "content": content} for status in operation.status}
    named = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for part in operation.path.split("/")
        if part.startswith("{")
    ]
    named += [{"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()]
    described: dict[str, Any] = {
        "operationId": f"{operation.method} {operation.path}",
        "summary": operation.summary,
        "parameters": named,
        "responses": responses,
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": operation.body}},
        }
    return described
