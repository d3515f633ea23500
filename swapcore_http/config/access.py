"""Who may ask, and what is each key good for?"""

from attrs import field, frozen

from swapcore_http.config.setting import texts, written

__all__ = ["SCOPES", "ApiKeyConfig"]

SCOPES = ("infer", "swap", "admin", "logs")


@frozen(kw_only=True, repr=False)
class ApiKeyConfig:
    """One key that callers may show. One that says nothing else may do everything."""

    key: str = field(default="", kw_only=False, repr=False, metadata=written("key", "a key", secret=True))
    """What callers show."""

    name: str = field(default="", metadata=written("name", "a text"))
    """What it is called in logs and lists, where the key itself is never shown."""

    models: tuple[str, ...] = field(
        default=("*",), converter=texts, metadata=written("models", "a list of patterns such as qwen*")
    )
    """The models that it may ask for, as patterns of shells."""

    scopes: tuple[str, ...] = field(
        default=SCOPES,
        converter=texts,
        metadata=written("scopes", "a list of infer, swap, admin and logs", choices=SCOPES),
    )
    """What it may do: ask models (`infer`), cause swaps, operate the server, read its logs."""

    priority: int | None = field(default=None, metadata=written("priority", "a whole number"))
    """What its callers arrive with instead of their model's priority."""

    patience: float | None = field(
        default=None, metadata=written("patience", "seconds, 0 or more, or .inf", minimum=0)
    )
    """How long its callers may wait before their model goes first; None for the model's."""

    share: float | None = field(
        default=None, metadata=written("share", "a part of the queue, more than 0 and at most 1", maximum=1)
    )
    """The part of the queue that its callers may fill; None for all of it."""

    @property
    def is_full(self) -> bool:
        """Whether it may do everything with every model."""
        return "*" in self.models and set(SCOPES) <= set(self.scopes)
