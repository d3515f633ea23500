"""Tests of `swapcore.catalog`."""

import math

import pytest

from swapcore import Catalog, CatalogError, Model


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": ""}, "a model needs an id that is not empty"),
        ({"id": "a", "concurrency_limit": 0}, "a: concurrency_limit is 0; expected at least 1"),
        ({"id": "a", "start_timeout": -1}, "a: start_timeout is -1; expected 0 or more seconds"),
        ({"id": "a", "unload_timeout": math.nan}, "a: unload_timeout is nan; expected 0 or more seconds"),
        ({"id": "a", "ttl": -0.1}, "a: ttl is -0.1; expected 0 or more seconds"),
    ],
)
def test_a_model_refuses_values_out_of_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(CatalogError) as raised:
        Model(**values)  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_ids_are_unique() -> None:
    with pytest.raises(CatalogError, match="two models have the id 'a'"):
        Catalog([Model("a"), Model("b"), Model("a")])


def test_a_catalog_keeps_the_order_of_definition() -> None:
    catalog = Catalog(Model(name) for name in "cab")
    assert [model.id for model in catalog] == ["c", "a", "b"]
    assert list(catalog.by_id) == ["c", "a", "b"]
    assert len(catalog) == 3
    assert catalog == Catalog([Model("c"), Model("a"), Model("b")])


def test_the_index_cannot_be_written_to() -> None:
    with pytest.raises(TypeError):
        Catalog([Model("a")]).by_id["b"] = Model("b")  # type: ignore[index]
