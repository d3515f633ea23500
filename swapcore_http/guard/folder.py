"""In which folders are this user's files that no configuration names?"""

import os
import stat
import tempfile
from collections.abc import Iterable

__all__ = ["folder", "lasting_folder"]


def folder() -> str:
    """Find the folder of this user's lives, and make it if it is not there.

    Raises:
        OSError: there is none that is ours alone.
    """
    runtime, *lasting = _parents()
    return _first([runtime, *lasting])


def lasting_folder() -> str:
    """Find the folder of what is to outlast this user's session, and make it if it is not there.

    Raises:
        OSError: there is none that is ours alone.
    """
    runtime, *lasting = _parents()
    return _first([*lasting, runtime])


def _parents() -> list[str | None]:
    """Say where folders of this user's may be: what ends with the session first."""
    runtime, state, home = (os.environ.get(name) for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"))
    return [runtime, state, home and os.path.join(home, ".local", "state")]


def _first(parents: Iterable[str | None]) -> str:
    for parent in parents:
        if parent:
            try:
                return _own(os.path.join(parent, "swapcore"))
            except OSError:
                continue
    return _own(os.path.join(tempfile.gettempdir(), f"swapcore-{os.geteuid()}"))


def _own(path: str) -> str:
    os.makedirs(path, mode=0o700, exist_ok=True)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not ours")
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(path, 0o700)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written")
    return path
