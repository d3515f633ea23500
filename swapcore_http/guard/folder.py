"""In which folder are the files of this user's lives?"""

import os
import stat
import tempfile

__all__ = ["folder"]


def folder() -> str:
    """Find the folder of this user's lives, and make it if it is not there.

    Raises:
        OSError: there is none that is ours alone.
    """
    runtime, state, home = (os.environ.get(name) for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"))
    candidates = [runtime, state, home and os.path.join(home, ".local", "state")]
    for parent in candidates:
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
