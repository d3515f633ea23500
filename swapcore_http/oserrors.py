"""How is what the operating system refuses told to people?"""

__all__ = ["told"]


def told(error: Exception) -> str:
    """Say in a line what is wrong, and with which file; numbers of errors say nothing to most.

    Other errors are told in their own words.
    """
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    why = error.strerror
    if why[1:2].islower():
        why = why[0].lower() + why[1:]
    return why if error.filename is None else f"{error.filename!r}: {why}"
