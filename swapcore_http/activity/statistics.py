"""How are many speeds shown in a few numbers?

By SQLite, which need not bring all of them into Python's memory for that.
"""

import math
import sqlite3
from collections.abc import Sequence
from typing import Any

__all__ = ["histogram"]

FEWEST, MOST = 5, 20
"""Bins that a histogram may have."""


def histogram(
    database: sqlite3.Connection, column: str, table: str, where: str, values: Sequence[Any]
) -> dict[str, Any] | None:
    """Count the positive values of a column in bins of one size, as llama-swap does.

    Values that are all equal make one bin of size 0.

    Args:
        database: Where the table is.
        column: The column's name.
        table: The table's name.
        where: A condition on its rows, or nothing.
        values: What stands for the condition's question marks.

    Returns:
        `None` if no value is positive.
    """
    those = f"FROM {table}{where}{' AND' if where else ' WHERE'} {column} > 0"
    count, least, most = database.execute(
        f"SELECT count(*), min({column}), max({column}) {those}",
        values,
    ).fetchone()
    if not count:
        return None
    size = 0.0
    bins = [count]
    if least < most:
        bins = [0] * min(max(math.ceil(math.log2(count)) + 1, FEWEST), MOST)
        size = (most - least) / len(bins)
        # The greatest value lies on the last bin's upper edge.
        place = f"min(CAST(({column} - ?) / ? AS INTEGER), ?)"
        counted = database.execute(
            f"SELECT {place}, count(*) {those} GROUP BY 1",
            [least, size, len(bins) - 1, *values],
        )
        for number, inside in counted:
            bins[number] = inside

    def percentile(part: float) -> float:
        """Interpolate between the two values that lie nearest."""
        position = (count - 1) * part
        nearest = database.execute(
            f"SELECT {column} {those} ORDER BY {column} LIMIT 2 OFFSET ?",
            [*values, math.floor(position)],
        ).fetchall()
        below, above = nearest[0][0], nearest[-1][0]
        return float(below + (above - below) * (position - math.floor(position)))

    return {
        "bins": bins,
        "min": least,
        "max": most,
        "binSize": size,
        "p50": percentile(0.50),
        "p95": percentile(0.95),
        "p99": percentile(0.99),
    }
