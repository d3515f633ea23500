"""Which models may live together, and who goes first, as a configuration says it?"""

from collections.abc import Mapping

from attrs import field, frozen

from swapcore.collation import Policy
from swapcore_http.config.setting import number_table, text_table, texts, written

__all__ = ["CollationConfig", "GroupConfig", "MatrixConfig"]

POLICY = Policy()
"""The core's defaults, which are these settings' as well."""

MAX_FACTOR = 1000
"""What a dial may be set to: an infinite factor times no seconds at all would be no number."""


@frozen(kw_only=True, repr=False)
class GroupConfig:
    """Some models, and how they get on with each other and with the rest."""

    name: str = field(kw_only=False)
    """What it is called; not `(default)`, which is the group of all models in no other."""

    members: tuple[str, ...] = field(
        default=(), converter=texts, metadata=written("members", "a list of models")
    )
    """Its models; aliases will do."""

    swap: bool = field(default=True, metadata=written("swap", "true or false"))
    """Whether only one of its models is up at a time."""

    exclusive: bool = field(default=True, metadata=written("exclusive", "true or false"))
    """Whether its models evict those of other groups, as far as these are not persistent."""

    persistent: bool = field(default=False, metadata=written("persistent", "true or false"))
    """Whether models of other groups leave its models alone."""


def _items(value: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
    """The order of sets settles ties: two matrices that differ in it are not the same."""
    return tuple(value.items())


@frozen(repr=False)
class MatrixConfig:
    """Sets of models that may live together.

        MatrixConfig({"chat": "(small | large) & voice"}, evict_costs={"voice": 50})

    Names are those of variables, else ids, else aliases. An alias that has to
    stand in an expression is like a variable: at most 32 letters, digits,
    dots and dashes.
    """

    sets: Mapping[str, str] = field(
        factory=dict,
        converter=text_table,
        eq=_items,
        metadata=written("sets", "expressions such as (a | b) & c, by the names of the sets"),
    )
    """The sets' expressions by their names; the first of equally good ones is chosen."""

    vars: Mapping[str, str] = field(
        factory=dict,
        converter=text_table,
        kw_only=True,
        metadata=written("vars", "models by their short names"),
    )
    """Short names of models, for expressions and costs."""

    evict_costs: Mapping[str, float] = field(
        factory=dict,
        converter=number_table,
        kw_only=True,
        metadata=written("evict_costs", "numbers more than 0, by models"),
    )
    """What evicting a model costs. If there are any, it is 1 for all others."""


@frozen(kw_only=True, repr=False)
class CollationConfig:
    """The dials of collation beside patience; see `swapcore.Policy`."""

    load_factor: float = field(
        default=POLICY.load_factor,
        metadata=written("loadFactor", f"a number from 0 to {MAX_FACTOR}", minimum=0, maximum=MAX_FACTOR),
    )
    """Under overload patience stretches to so many times what serving everyone who waits would take."""

    quantum: float = field(
        default=POLICY.quantum,
        metadata=written("quantum", f"a number from 0 to {MAX_FACTOR}", minimum=0, maximum=MAX_FACTOR),
    )
    """How long a model in the way of a due one goes on taking callers, in times of what its load cost."""

    choice: str = field(default=POLICY.choice, metadata=written("choice", "oldest, age or work"))
    """Which model comes next while none is due."""
