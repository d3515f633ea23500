"""What can be done from the command line?

Only what a command needs is imported for it: `check` starts no server, and so
knows no aiohttp.
"""

import argparse
import sys
from pathlib import Path

from swapcore_http.config import Config, ConfigError, load

__all__ = ["main"]

OK, FAILED, USAGE = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run `swapcore-http` with these arguments, by default the process's own.

    Returns:
        The exit status: 0 if all went well, 1 if not, 2 for wrong usage.
    """
    options = _parser().parse_args(arguments)
    if options.command == "check":
        return OK if _load(options.config) is not None else FAILED
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
    what = serve.add_mutually_exclusive_group(required=True)
    # With one dash as well, as llama-swap's own options are written.
    what.add_argument("--config", "-config", type=Path, metavar="PATH", help="a llama-swap configuration")
    what.add_argument("--demo", action="store_true", help="serve three small demo models instead")
    serve.add_argument(
        "--listen",
        "-listen",
        type=_address,
        default="127.0.0.1:8080",
        metavar="HOST:PORT",
        help="where to listen (default: %(default)s; :PORT for all interfaces, port 0 for any free one)",
    )

    check = commands.add_parser("check", help="check a configuration and do nothing else", allow_abbrev=False)
    check.add_argument(
        "--config", "-config", type=Path, required=True, metavar="PATH", help="the configuration"
    )
    return parser


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


def _load(path: Path) -> Config | None:
    """Load a configuration and print what there is to say about it."""
    try:
        loaded = load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    return loaded.config


def _serve(options: argparse.Namespace) -> int:
    greeting = ""
    if options.demo:
        from swapcore_http.demo.config import demo_config, demo_hints

        config: Config | None = demo_config()
        greeting = demo_hints("{base_url}")
    else:
        config = _load(options.config)
    if config is None:
        return FAILED

    import anyio

    from swapcore_http.driver import EngineFailedError
    from swapcore_http.logs import set_up_logging
    from swapcore_http.serve import Address, CannotListenError, serve

    set_up_logging(config.log_level)
    address = Address(*options.listen)
    try:
        anyio.run(lambda: serve(config, address, greeting=greeting), backend="asyncio")
    except CannotListenError as error:
        print(f"swapcore-http: {error}", file=sys.stderr)
        return FAILED
    except ExceptionGroup as group:
        failures, rest = group.split(EngineFailedError)
        if failures is None or rest is not None:
            raise
        _report_failure(failures)
        return FAILED
    return OK


def _report_failure(error: BaseException) -> None:
    """Print the last events before the engine failed, from which the failure can be replayed."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    print("swapcore-http: the engine failed; please report this, with its last events:", file=sys.stderr)
    for now, event in getattr(error, "journal_tail", ()):
        print(f"{now:.6f} {event}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
