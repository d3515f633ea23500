"""What can be done from the command line?

Only what a command needs is imported for it: `check` starts no server, and so
knows no aiohttp.
"""

import argparse
import contextlib
import gc
import json
import math
import sys
from functools import partial
from pathlib import Path

import attrs

from swapcore import SwapcoreError
from swapcore_http.config import Config, ConfigError, Severity, load

__all__ = ["main"]

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

MOST_FILES = 65_536
"""More open files are never asked for: upstreams inherit the limit, and some walk through all of it."""


GARBAGE = 20_000
"""Objects made since the last look, less those gone, at which the collector looks for garbage."""


def main(arguments: list[str] | None = None) -> int:
    """Run `swapcore-http` with these arguments, by default the process's own.

    Returns:
        The exit status: 0 if all went well, 1 if not, 130 if interrupted; wrong usage exits with 2.
    """
    options = _parsed(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        # Before the server minds its signals, or during another command.
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    if options.command == "check":
        return _check(options)
    if options.command == "replay":
        return _replay(options)
    if options.command == "explain":
        return _explain(options)
    if options.command == "schema":
        return _schema(options)
    if options.command == "init":
        return _init(options)
    return _serve(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swapcore-http",
        description="Serve many AI models behind one endpoint, swapping them on demand.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve the models of a configuration", allow_abbrev=False)
    _add_config(serve)
    serve.add_argument("--demo", action="store_true", help="serve three small demo models instead")
    serve.add_argument(
        "--listen",
        "-listen",
        type=_address,
        default="127.0.0.1:8080",
        metavar="HOST:PORT",
        help="where to listen (default: %(default)s; :PORT for all interfaces, port 0 for any free one)",
    )

    serve.add_argument(
        "--watch-config",
        "-watch-config",
        action="store_true",
        help="reload the configuration whenever it has changed, not only when told to",
    )
    serve.add_argument("--journal", type=Path, metavar="FILE", help="record every decision in this file")

    replay = commands.add_parser(
        "replay", help="decide again what a journal recorded, and compare", allow_abbrev=False
    )
    replay.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="the files of one recording, the oldest first"
    )
    replay.add_argument(
        "--config",
        "-config",
        type=Path,
        metavar="PATH",
        help="instead, say what its traffic would have cost under this configuration",
    )

    check = commands.add_parser("check", help="check a configuration and do nothing else", allow_abbrev=False)
    _add_config(check)
    check.add_argument("--json", action="store_true", help="print what there is to say as JSON")

    explain = commands.add_parser(
        "explain", help="say what a request would evict, and why", allow_abbrev=False
    )
    explain.add_argument("model", metavar="MODEL", help="what the request is for")
    _add_config(explain)
    explain.add_argument(
        "--running",
        type=_names,
        default=(),
        metavar="MODEL,MODEL",
        help="what is running (default: nothing)",
    )
    explain.add_argument("--json", action="store_true", help="print the answer as JSON")

    schema = commands.add_parser(
        "schema", help="print a JSON Schema of configurations, for editors", allow_abbrev=False
    )
    schema.add_argument("--markdown", action="store_true", help="print a page for people instead")

    init = commands.add_parser("init", help="write a first configuration to go on from", allow_abbrev=False)
    init.add_argument(
        "--config",
        "-config",
        type=Path,
        default=Path("config.yaml"),
        metavar="PATH",
        help="the file to write, - for standard output (default: %(default)s)",
    )
    init.add_argument("--force", action="store_true", help="replace the file if it exists")
    init.add_argument(
        "--from-llama-server",
        action="append",
        default=[],
        metavar="ARGS",
        help="the arguments of a llama-server that you start by hand, in quotes; may be given again",
    )
    init.add_argument(
        "--gguf", type=Path, action="append", default=[], metavar="DIR", help="a directory of GGUF files"
    )
    init.add_argument(
        "--ollama",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="Ollama's directory of models, such as ~/.ollama/models",
    )
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    """Let a command have a configuration, with one dash as well, as llama-swap's own options are written."""
    parser.add_argument("--config", "-config", type=Path, metavar="PATH", help="a llama-swap configuration")
    parser.add_argument(
        "--config-dir",
        "-config-dir",
        type=Path,
        metavar="DIR",
        help="a directory whose *.yaml and *.yml belong to it as well",
    )


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line; what needs a configuration has one, and only one."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command in ("serve", "check", "explain"):
        given = options.config is not None or options.config_dir is not None
        demo = options.command == "serve" and options.demo
        if demo and given:
            parser.error("argument --config: not allowed with argument --demo")
        if not demo and not given:
            also = ", or --demo" if options.command == "serve" else ""
            parser.error(
                f"there is nothing to {options.command}: expected --config, --config-dir or both{also}"
            )
    return options


class _Version(argparse.Action):
    """Print the installed version; looking it up takes longer than all the rest of the command line."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        print(f"swapcore {version('swapcore')}")
        parser.exit()


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise argparse.ArgumentTypeError(
            f"{text!r} has an IPv6 address without brackets; expected [HOST]:PORT"
        )
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text!r} is no address; expected HOST:PORT")
    return host, int(port)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _check(options: argparse.Namespace) -> int:
    if not options.json:
        return OK if _load(options) is not None else FAILED
    try:
        problems = load(options.config, directory=options.config_dir).warnings
    except ConfigError as error:
        problems = error.problems
    said = [attrs.asdict(each, value_serializer=_as_json) for each in problems]
    ok = not any(each.severity is Severity.ERROR for each in problems)
    print(json.dumps({"ok": ok, "problems": said}, indent=2, ensure_ascii=False))
    return OK if ok else FAILED


def _as_json(_: object, __: object, value: object) -> object:
    return value.value if isinstance(value, Severity) else value


def _load(options: argparse.Namespace) -> Config | None:
    """Load a configuration and print what there is to say about it."""
    try:
        loaded = load(options.config, directory=getattr(options, "config_dir", None))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    return loaded.config


def _explain(options: argparse.Namespace) -> int:
    config = _load(options)
    if config is None:
        return FAILED

    from swapcore_http.explain import UnknownNameError, explain

    try:
        answer = explain(config, options.model, options.running)
    except UnknownNameError as error:
        print(f"swapcore-http: {error}", file=sys.stderr)
        return FAILED
    if options.json:
        # JSON has no number that is infinite.
        data = attrs.asdict(answer) | {"cost": answer.cost if math.isfinite(answer.cost) else None}
        print(json.dumps(data, indent=2, allow_nan=False))
        return OK
    leaving = ", ".join(answer.evict)
    if math.isinf(answer.cost):
        print(f"A request for {answer.target} would have to evict {leaving}, which cannot be done.")
    elif leaving:
        print(f"A request for {answer.target} evicts {leaving}, at a cost of {answer.cost:g}.")
    else:
        print(f"A request for {answer.target} evicts nothing.")
    for reason in answer.reasons:
        print(f"  {reason}")
    allowed = f", by the set {answer.set}" if answer.set else ""
    print(f"Then these may live together{allowed}: {', '.join(answer.target_set)}.")
    return OK


def _schema(options: argparse.Namespace) -> int:
    if options.markdown:
        from swapcore_http.config.reference import reference_page

        print(reference_page(), end="")
        return OK

    from swapcore_http.config.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False, allow_nan=False))
    return OK


def _init(options: argparse.Namespace) -> int:
    from swapcore_http.init.gathering import gather
    from swapcore_http.init.llama_server import ArgumentsError
    from swapcore_http.init.writing import configuration, write_new

    to_stdout = str(options.config) == "-"
    try:
        found = gather(options.from_llama_server, options.gguf, options.ollama)
        if not found.models and (options.gguf or options.ollama):
            print("swapcore-http: there are no models in these directories", file=sys.stderr)
            return FAILED
        path = "config.yaml" if to_stdout else str(options.config)
        text = configuration(found.models, path, left_out=found.left_out)
        if to_stdout:
            print(text, end="")
            return OK
        write_new(options.config, text, force=options.force)
    except ArgumentsError as error:
        print(f"swapcore-http: --from-llama-server {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"swapcore-http: {error}", file=sys.stderr)
        return FAILED
    count = "a sample model" if not found.models else f"{len(found.models)} models"
    print(f"{options.config} has {count} now; swapcore-http check --config {options.config} checks it")
    return OK


def _replay(options: argparse.Namespace) -> int:
    from swapcore_http.replay import replay, try_traffic

    if options.config is None:
        verdict = replay(options.files)
    else:
        config = _load(options)
        if config is None:
            return FAILED
        from swapcore_http.serve import make_engine

        verdict = try_traffic(options.files, config, make_engine(config))
    print(verdict.text, file=sys.stdout if verdict.ok else sys.stderr)
    return OK if verdict.ok else FAILED


def _serve(options: argparse.Namespace) -> int:
    greeting, read, watch = "", None, None
    if options.demo:
        if options.watch_config:
            print("swapcore-http: --watch-config needs --config", file=sys.stderr)
            return USAGE
        from swapcore_http.demo.config import demo_config, demo_hints

        config: Config | None = demo_config()
        greeting = demo_hints("{base_url}")
    else:
        from swapcore_http.watch import Watch, at_rest

        sources = [each for each in (options.config, options.config_dir) if each is not None]
        watch = Watch(sources) if options.watch_config else None
        read = partial(at_rest, sources, partial(load, options.config, directory=options.config_dir))
        config = _load(options)
    if config is None:
        return FAILED

    import anyio

    from swapcore_http.driver import EngineFailedError
    from swapcore_http.logs import set_up_logging
    from swapcore_http.serve import Address, CannotListenError, serve

    set_up_logging(config.log_level, config.log_to_stdout, config.log_time_format)
    _allow_many_connections()
    _look_for_garbage_less_often()
    address = Address(*options.listen)
    try:
        anyio.run(
            lambda: serve(
                config, address, greeting=greeting, journal=options.journal, read=read, watch=watch
            ),
            backend="asyncio",
        )
    except CannotListenError as error:
        print(f"swapcore-http: {error}", file=sys.stderr)
        return FAILED
    except SwapcoreError as error:
        from swapcore_http.journal import CannotRecordError

        if not isinstance(error, CannotRecordError):
            raise
        print(f"swapcore-http: {error}", file=sys.stderr)
        return FAILED
    except ExceptionGroup as group:
        if (cause := _cannot_trace(group)) is not None:
            print(f"swapcore-http: {cause}", file=sys.stderr)
            return FAILED
        failures, rest = group.split(EngineFailedError)
        if failures is None or rest is not None:
            raise
        _report_failure(failures)
        return FAILED
    return OK


def _cannot_trace(group: ExceptionGroup) -> Exception | None:
    """Find what says that OpenTelemetry is missing."""
    from swapcore_http.otel import CannotTraceError

    cause: Exception | None = group.split(CannotTraceError)[0]
    while isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    return cause


def _look_for_garbage_less_often() -> None:
    """Spare what was made at the start, and let a few hundred requests in flight pass for what they are."""
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)


def _allow_many_connections() -> None:
    """Raise the limit of open files as far as the system lets everybody: each stream takes two of them."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft < wanted:
        # The system may have limits that it does not tell; then the present one has to do.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _report_failure(error: BaseException) -> None:
    """Print the last events before the engine failed, from which the failure can be replayed."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    print("swapcore-http: the engine failed; please report this, with its last events:", file=sys.stderr)
    for now, event in getattr(error, "journal_tail", ()):
        print(f"{now:.6f} {event}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
