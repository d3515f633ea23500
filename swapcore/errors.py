"""What can an integrator have done wrong?

The world's failures are never exceptions here: a process that dies is an
event, a caller that cannot be served gets a refusal. Exceptions are for blame:

    SwapcoreError
    ├── CatalogError   the description of the models contradicts itself
    └── MisuseError    the engine was told something that cannot have happened
"""

__all__ = ["CatalogError", "MisuseError", "SwapcoreError"]


class SwapcoreError(Exception):
    """Base class of all exceptions that swapcore raises on purpose."""


class CatalogError(SwapcoreError, ValueError):
    """A `Model` or `Catalog` was given values that contradict themselves."""


class MisuseError(SwapcoreError):
    """`Engine.handle` was told an impossible fact, and has changed nothing.

    Time that goes back, a ticket that is open already, the release of a ticket
    that never arrived, a run that was never started: each is a bug in the
    integrator, and the engine is as it was before the call.
    """
