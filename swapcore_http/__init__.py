"""The aiohttp adapter of swapcore: real subprocesses, sockets and clocks.

`swapcore-http serve --config config.yaml` is its command line. Other servers
embed `swapcore_http.driver.Driver`, with `swapcore_http.launcher` for
subprocesses or a launcher of their own. `swapcore_http.load(path)` reads a
configuration, and `swapcore_http.config` has the classes to make one without.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swapcore_http.config import Config, ConfigError, Loaded, dumps, load, loads

__all__ = ["Config", "ConfigError", "Loaded", "dumps", "load", "loads"]


def __getattr__(name: str) -> Any:
    # Who wants something else from this package need not wait for YAML.
    if name in __all__:
        from swapcore_http import config  # noqa: PLC0415 - for that reason.

        return getattr(config, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
