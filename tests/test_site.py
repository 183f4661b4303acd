"""The site of the documentation: built strict, whole without a network connection, with every public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import cytotome as ct

REPOSITORY = Path(__file__).resolve().parents[1]
LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
"""Attributes whose target a browser loads by itself."""
SAME_AS = {"from_masks": "Instances.from_masks", "from_label_map": "Instances.from_label_map"}


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """As ``scripts/docs`` does it."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", site]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(REPOSITORY / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


class Page(HTMLParser):
    """What a page loads, links to and can be linked to by."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids.add(values.get("id") or "")
        target = values.get(LOADED.get(tag, ""))
        if target and values.get("rel") != "canonical":
            self.loaded.append(target)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")


def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_document_is_a_page(site: Path) -> None:
    documents = {path.relative_to(REPOSITORY / "docs").with_suffix(".html") for path in REPOSITORY.glob("docs/**/*.md")}
    built = {path.relative_to(site) for path in site.rglob("*.html")}
    assert built - documents == {Path("404.html"), Path("changelog.html"), Path("contributing.html")}
    assert documents <= built


def test_pages_load_nothing_from_another_host(site: Path) -> None:
    found = pages(site)
    assert sum(len(page.loaded) for page in found.values()) > 100
    for path, page in found.items():
        for target in page.loaded:
            assert not re.match(r"(https?:)?//", target), f"{path.name} loads {target}"
            # 404.html is for web servers, which have the site at their root
            assert path.name == "404.html" or (path.parent / unquote(target.partition("?")[0])).is_file(), target
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)[\s\"']*(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_links_lead_to_files_so_that_pages_open_from_the_file_system(site: Path) -> None:
    found = {path: page for path, page in pages(site).items() if path.name != "404.html"}
    for path, page in found.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            file = (path.parent / unquote(target)).resolve() if target else path
            assert file.is_file(), f"{path.name} links to {link}"
            if anchor and file.suffix == ".html":
                assert unquote(anchor) in found[file].ids | {"__codelineno"}, f"{path.name} links to {link}"


def test_the_search_works_from_the_file_system(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = ")
    assert "Finds the cells of one or several images" in index


def test_the_reference_has_every_public_name(site: Path) -> None:
    ids = Page(site / "api.html").ids
    assert {f"cytotome.{SAME_AS.get(name, name)}" for name in ct.__all__} <= ids
    text = (site / "api.html").read_text(encoding="utf-8")
    assert not re.search(r":(class|func|meth|data|mod|attr):", text)
    assert '<span class="gp">&gt;&gt;&gt; </span>' in text
    assert "<blockquote>" not in text
    assert "doctest: +" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a](segmented.md)", "segmented.md"),
        ("[a](segment.md#no-such-part)", "no-such-part"),
        ("[a](../scripts/no_such_script)", "scripts/no_such_script, which is not in the repository"),
        ("::: cytotome.no_such_name", "cytotome.no_such_name"),
    ],
)
def test_faults_of_a_page_end_the_build(text: str, message: str, tmp_path: Path) -> None:
    config = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Home\n\n{text}\n", encoding="utf-8")
    (tmp_path / "docs" / "segment.md").write_text("# Segment\n", encoding="utf-8")
    config |= {"docs_dir": str(tmp_path / "docs"), "hooks": [str(REPOSITORY / "scripts" / "site_hooks.py")]}
    options = next(plugin["mkdocstrings"] for plugin in config["plugins"] if "mkdocstrings" in plugin)["handlers"][
        "python"
    ]
    options["paths"] = [str(REPOSITORY / "src")]
    options["options"]["extensions"] = [f"{REPOSITORY}/scripts/site_hooks.py:Examples"]
    config["nav"] = ["index.md", "segment.md", "changelog.md", "contributing.md"]
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert message in done.stderr
