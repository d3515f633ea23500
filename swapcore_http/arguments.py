"""What may be said on the command line?"""

import argparse
import sys
from pathlib import Path

__all__ = ["address", "parsed"]

PLAIN, ENCRYPTED = "127.0.0.1:8080", "127.0.0.1:8443"
"""Where to listen unless that is said, without TLS and with it."""


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line, by default the process's own; what needs a configuration has one.

    Raises:
        SystemExit: it is wrong, with 2, or was answered at once.
    """
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
    if options.command == "serve" and options.listen is None:
        options.listen = address(PLAIN if options.tls_cert_file is None else ENCRYPTED)
    return options


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
        type=address,
        metavar="HOST:PORT",
        help=f"where to listen (default: {PLAIN}, or {ENCRYPTED} with TLS; :PORT for all interfaces,"
        " port 0 for any free one)",
    )
    serve.add_argument(
        "--tls-cert-file", "-tls-cert-file", type=Path, metavar="FILE", help="a certificate to show, as PEM"
    )
    serve.add_argument("--tls-key-file", "-tls-key-file", type=Path, metavar="FILE", help="and its key")
    serve.add_argument(
        "--watch-config",
        "-watch-config",
        action="store_true",
        help="reload the configuration whenever it has changed, not only when told to",
    )
    serve.add_argument(
        "--loop",
        choices=["auto", "asyncio", "uvloop"],
        default="auto",
        help="which event loop to run on (default: uvloop if it is installed, which the extra `fast` does)",
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
    check.add_argument(
        "--explain",
        action="store_true",
        help="print what it comes to, without its secrets, and which models may live together",
    )

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


class _Version(argparse.Action):
    """Print the installed version; looking it up takes longer than all the rest of the command line."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - for the same reason.

        sys.stdout.write(f"swapcore {version('swapcore')}\n")
        parser.exit()


def address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, in which an IPv6 address stands in brackets and the host may be left out.

    Raises:
        ArgumentTypeError: it is none.
    """
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
