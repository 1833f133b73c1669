"""The README and the handbook: links, references to them, and the tables that have a source."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from conftest import DEPLOY, ROOT

SUFFIXES = {".md", ".rs", ".py", ".js", ".yml", ".yaml", ".service"}
NOT_OURS = {".cache", ".git", "node_modules", "target"}


def files(suffixes: set[str]) -> list[Path]:
    """The repository's files with these suffixes."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = set(folders) - NOT_OURS
        found += [Path(folder, name) for name in names if Path(name).suffix in suffixes]
    return found


PAGES = files({".md"})


def headings(page: Path) -> set[str]:
    return set(re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    lower = [heading.lower().replace(" ", "-") for heading in headings(page)]
    return {re.sub(r"[^\w-]", "", anchor) for anchor in lower}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_reference_to_the_handbook_names_a_page_and_a_heading() -> None:
    references = set()
    for file in files(SUFFIXES):
        # A reference may go on in the next line: of a string, or of a comment.
        text = re.sub(r"\s*\\?\n\s*(?:#|//[/!]?)?\s*", " ", file.read_text())
        references |= set(re.findall(r"deploy/(\w+\.md)(?: +\(([A-Z][^)]*)\))?", text))
    assert len([heading for _, heading in references if heading]) > 3
    for page, heading in references:
        assert (DEPLOY / page).exists(), page
        assert not heading or heading in headings(DEPLOY / page), (page, heading)


def test_the_index_of_the_handbook_names_every_page() -> None:
    pages = {page.name for page in PAGES if page.parent == DEPLOY} - {"README.md"}
    assert pages == set(re.findall(r"^\| \[(\w+\.md)\]", (DEPLOY / "README.md").read_text(), re.M))


def test_every_setting_is_in_the_handbook(known_settings: set[str]) -> None:
    text = (DEPLOY / "SETTINGS.md").read_text()
    assert len(known_settings) > 15
    for variable in known_settings:
        flag = "--" + variable.removeprefix("STREAMWATCH_").lower().replace("_", "-")
        assert f"`{variable}`" in text or f"`{flag}`" in text, variable
