"""What does each command of the command line do?

Only what a command needs is imported for it: `check` starts no server, and so
knows no aiohttp.
"""

import argparse
import contextlib
import gc
import json
import math
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from swapcore_http.arguments import parsed

if TYPE_CHECKING:
    from swapcore_http.config import Config
    from swapcore_http.tls import Tls

__all__ = ["main"]

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

MOST_FILES = 65_536
"""More open files are never asked for: upstreams inherit the limit, and some walk through all of it."""

GARBAGE = 20_000
"""Objects made since the last look, less those gone, at which a server looks for garbage: a few hundred
requests in flight are to pass for what they are."""

IMPORTED = 250_000
"""The same until it serves: several times as many as are made by then."""


def main(arguments: list[str] | None = None) -> int:
    """Run `swapcore-http` with these arguments, by default the process's own.

    Returns:
        The exit status: 0 if all went well, 1 if not, 130 if interrupted; wrong usage exits with 2.
    """
    # Before anything is imported: next to nothing of that becomes garbage, and looking takes 30 ms.
    gc.set_threshold(IMPORTED, 20, 20)
    try:
        try:
            return _run(parsed(arguments))
        finally:
            # There is none if the shell was told to close it.
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        # Before the server minds its signals, or during another command.
        return INTERRUPTED
    except OSError as error:
        if error.filename is not None:
            raise
        # What is left is written to nowhere as the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            # Else whoever reads, such as `head`, has enough.
            print(f"swapcore-http: the output cannot be written: {error.strerror}", file=sys.stderr)
        return FAILED


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


def _check(options: argparse.Namespace) -> int:
    if options.json:
        return _check_as_data(options)
    config = _load(options)
    if config is None:
        return FAILED
    if options.explain:
        from swapcore_http.config.dumping import as_yaml
        from swapcore_http.config.effective import explained

        print(as_yaml(explained(config)), end="")
    return OK


def _check_as_data(options: argparse.Namespace) -> int:
    import attrs

    from swapcore_http.config import ConfigError, load

    config = None
    try:
        loaded = load(options.config, directory=options.config_dir)
        config, problems = loaded.config, loaded.warnings
    except ConfigError as error:
        problems = error.problems
    said = [attrs.asdict(each, value_serializer=_as_json) for each in problems]
    answer: dict[str, object] = {"ok": config is not None, "problems": said}
    if options.explain and config is not None:
        from swapcore_http.config.effective import explained, finite

        answer["effective"] = finite(explained(config))
    print(json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False))
    return OK if config is not None else FAILED


def _as_json(_: object, __: object, value: object) -> object:
    from swapcore_http.config import Severity

    return value.value if isinstance(value, Severity) else value


def _load(options: argparse.Namespace) -> "Config | None":
    """Load a configuration and print what there is to say about it."""
    from swapcore_http.config import ConfigError, load

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

    from swapcore_http.explain import UnknownNameError, as_json, explain

    try:
        answer = explain(config, options.model, options.running)
    except UnknownNameError as error:
        print(f"swapcore-http: {error}", file=sys.stderr)
        return FAILED
    if options.json:
        print(json.dumps(as_json(answer), indent=2, allow_nan=False))
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
    from swapcore_http.oserrors import told

    to_stdout = str(options.config) == "-"
    try:
        found = gather(options.from_llama_server, options.gguf, options.ollama)
        if not found.models and (options.gguf or options.ollama):
            print("swapcore-http: there are no models in these directories", file=sys.stderr)
            return FAILED
        path = "config.yaml" if to_stdout else str(options.config)
        text = configuration(found.models, path, left_out=found.left_out)
        if not to_stdout:
            write_new(options.config, text, force=options.force)
    except ArgumentsError as error:
        print(f"swapcore-http: --from-llama-server {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"swapcore-http: {told(error)}", file=sys.stderr)
        return FAILED
    if to_stdout:
        print(text, end="")
        return OK
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
        from swapcore_http.config import load
        from swapcore_http.watch import Watch, at_rest

        sources = [each for each in (options.config, options.config_dir) if each is not None]
        watch = Watch(sources) if options.watch_config else None
        read = partial(at_rest, sources, partial(load, options.config, directory=options.config_dir))
        config = _load(options)
    if config is None:
        return FAILED

    from swapcore_http.trust import import_aiohttp

    # Before anything else imports it.
    import_aiohttp()

    import anyio

    from swapcore import SwapcoreError
    from swapcore_http.driver import EngineFailedError
    from swapcore_http.logs import set_up_logging
    from swapcore_http.serve import Address, serve
    from swapcore_http.tls import CannotShowError

    try:
        tls = _certificate(options)
    except CannotShowError as error:
        print(f"swapcore-http: {error}", file=sys.stderr)
        return FAILED
    use_uvloop = options.loop != "asyncio" and _can_use_uvloop()
    if options.loop == "uvloop" and not use_uvloop:
        print("swapcore-http: uvloop is not installed: pip install '.[http,fast]'", file=sys.stderr)
        return FAILED
    set_up_logging(config.log_level, config.log_to_stdout, config.log_time_format)
    _allow_many_connections()
    # What was made until now stays; looking through it again finds nothing.
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)
    address = Address(*options.listen)
    try:
        anyio.run(
            lambda: serve(
                config,
                address,
                greeting=greeting,
                journal=options.journal,
                read=read,
                watch=watch,
                tls=tls,
            ),
            backend="asyncio",
            backend_options={"use_uvloop": use_uvloop},
        )
    except SwapcoreError as error:
        if not _says_what_is_missing(error):
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


def _certificate(options: argparse.Namespace) -> "Tls | None":
    """Read the certificate to show, if there is to be one.

    Raises:
        CannotShowError: it cannot be used.
    """
    from swapcore_http.tls import CannotShowError, Tls

    files = options.tls_cert_file, options.tls_key_file
    if files == (None, None):
        return None
    if None in files:
        raise CannotShowError("expected both --tls-cert-file and --tls-key-file")
    return Tls(*files)


def _can_use_uvloop() -> bool:
    from importlib.util import find_spec

    return find_spec("uvloop") is not None


def _says_what_is_missing(error: Exception) -> bool:
    """Tell whether an error is no fault of ours: the server has not what it was told to use."""
    from swapcore_http.journal import CannotRecordError
    from swapcore_http.serve import CannotListenError

    return isinstance(error, CannotListenError | CannotRecordError)


def _cannot_trace(group: ExceptionGroup) -> Exception | None:
    """Find what says that OpenTelemetry is missing."""
    from swapcore_http.otel import CannotTraceError

    cause: Exception | None = group.split(CannotTraceError)[0]
    while isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    return cause


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
