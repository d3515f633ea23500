"""Is the page of all keys the one that the classes make?"""

from pathlib import Path

import pytest

from swapcore_http.cli import main
from swapcore_http.config.reference import reference_page
from swapcore_http.config.setting import settings_of
from tests.http.config.records import records

PAGE = Path(__file__).parents[3] / "examples" / "configuration.md"


def test_the_page_in_examples_is_up_to_date() -> None:
    message = "run: swapcore-http schema --markdown > examples/configuration.md"
    assert PAGE.read_text(encoding="utf-8") == reference_page(), message


def test_it_has_a_row_for_every_setting() -> None:
    tables = reference_page().split("\n## ")[1:]
    assert len(tables) == len(records())
    for cls in records():
        rows = [f"| `{setting.key}` | " for setting in settings_of(cls).values()]
        assert any(all(row in table for row in rows) for table in tables)


def test_it_speaks_of_yaml_and_not_of_python() -> None:
    page = reference_page()
    assert "None" not in page
    assert "`Config." not in page
    assert "| `ttl` | seconds, 0 for never, or -1 for globalTTL | `-1` | How long it stays up idle. |" in page


def test_it_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out == reference_page()
