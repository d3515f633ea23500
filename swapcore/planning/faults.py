"""What is wrong with a planner's configuration, and where in it?"""

from swapcore.errors import CatalogError

__all__ = ["ExpressionError", "PlanningError"]


class PlanningError(CatalogError):
    """Groups or sets of models contradict themselves, or name what does not exist.

    Args:
        path: The way to the culprit through the planner's own configuration,
            as in `("vars", "g")`, for whoever knows in which line that stands.
        message: What is wrong there.
    """

    def __init__(self, path: tuple[str, ...], message: str) -> None:
        super().__init__(path, message)
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return ": ".join((*self.path, self.message))


class ExpressionError(PlanningError):
    """The expression of a set cannot be understood.

    Args:
        path: The way to the set, as in `("sets", "standard")`; empty if the
            expression was parsed by itself.
        message: What is wrong.
        position: Where in the expression: how many characters stand before.
    """

    def __init__(self, path: tuple[str, ...], message: str, position: int) -> None:
        super().__init__(path, message)
        self.args = (path, message, position)
        self.position = position

    def __str__(self) -> str:
        return f"{super().__str__()} (at position {self.position})"
