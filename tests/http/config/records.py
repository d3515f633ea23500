"""Which classes hold the settings of a configuration?"""

import attrs

from swapcore_http.config.kinds import Shape, kinds_of
from swapcore_http.config.schema import Settings


def records(cls: type[attrs.AttrsInstance] = Settings) -> list[type[attrs.AttrsInstance]]:
    """List the classes that have settings, each with those in it."""
    inner = [
        each
        for kind in kinds_of(cls).values()
        if kind.shape in (Shape.RECORD, Shape.RECORDS, Shape.RECORD_LIST)
        for each in records(kind.of)
    ]
    return list(dict.fromkeys([cls, *inner]))
