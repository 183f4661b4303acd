"""Hooks of MkDocs for the site, used by mkdocs.yml.

The pages are written for the repository and read well there. On the site, links out of ``docs/`` lead to the
repository where ``repo_url`` says where it is, and are plain text where it does not; a missing target is a warning,
which the strict build turns into an error. In docstrings, roles of Sphinx become links to the API reference, and
examples become code.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ADOPTED = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages at the root of the repository that are part of the site, and their names there."""
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
EXAMPLE = re.compile(r"(?:^(?:>>>|\.\.\.).*\n?(?:^(?!>>>|\s*$).+\n?)*)+", re.MULTILINE)
FLAG = re.compile(r" *# doctest:.*")
ROLE = re.compile(r":[a-z]+:<code>(~?)\.?([\w.]+)</code>")

log = logging.getLogger("mkdocs.hooks.site")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the repository's root."""
    for source, name in ADOPTED.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of a page as the site needs them."""
    adopted = {name: source for source, name in ADOPTED.items()}
    source = adopted.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def replaced(link: re.Match[str]) -> str:
        return site_link(link, source, page.file.src_uri, config.repo_url)

    return LINK.sub(replaced, markdown)


def site_link(link: re.Match[str], source: str, page: str, repository: str | None) -> str:
    """A link of ``source``, a path in the repository, on the page of the site that is made of it."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["target"]))
    place = ADOPTED.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    if place:
        return f"[{link['text']}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{link['anchor'] or ''})"
    if not (ROOT / path).exists():
        log.warning("%s: link to %s, which is not in the repository", source, path)
    if repository:
        return f"[{link['text']}]({repository.rstrip('/')}/blob/main/{path}{link['anchor'] or ''})"
    return link["text"] if link["text"].strip("`") == path else f"{link['text']} (`{path}`)"


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Roles of docstrings become links, or code where the reference has no such entry."""

    def replaced(role: re.Match[str]) -> str:
        name = role[2].rpartition(".")[2] if role[1] else role[2]
        return f'<autoref identifier="{role[2]}" optional><code>{name}</code></autoref>'

    return ROLE.sub(replaced, html)


class Examples(griffe.Extension):
    """Examples in docstrings, from ``>>>`` to the next empty line, as code without the flags of doctest."""

    def on_object(self, *, obj: griffe.Object, **options: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(fenced, obj.docstring.value)


def fenced(example: re.Match[str]) -> str:
    """An example as a block of code."""
    return f"```pycon\n{FLAG.sub('', example[0]).rstrip()}\n```\n"
