"""The page and the table of a comparison."""

from __future__ import annotations

import base64
import csv
import html
import io
from pathlib import Path

from cytotome.app.compare.results import Comparison, MethodResult
from cytotome.io.files import atomic_path

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse}td,th{padding:.3em .7em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}figure{display:inline-block;margin:.5em;width:30em}
img{width:100%}figcaption{color:#555}.say{background:#eef4ee;padding:.8em 1em}"""


def table_rows(results: Comparison) -> list[list[str]]:
    """Returns the header and one row per method, best first, as text."""
    types = sorted({kind for method in results.methods for kind in method.types})
    head = ["method", "family", "mAP", *(kind or "unknown" for kind in types), "ceiling"]
    head += ["s an image", "peak MB", "model MB", "licence"]
    rows = [head]
    for method in results.ranked:
        scores = [f"{method.types[kind]:.3f}" if kind in method.types else "" for kind in types]
        rows.append(
            [
                method.name,
                method.family,
                f"{method.score:.3f}",
                *scores,
                f"{method.ceiling:.3f}",
                f"{method.seconds_per_image:.2f}",
                f"{method.peak_megabytes:.0f}",
                f"{method.model_megabytes:.1f}",
                method.licence,
            ]
        )
    if (ensemble := results.ensemble) is not None:
        scores = [f"{ensemble.types.get(kind, float('nan')):.3f}" for kind in types]
        members = " + ".join(ensemble.members)
        rows.append(["ensemble, tuned on other folds", members, f"{ensemble.score:.3f}", *scores, *[""] * 5])
    return rows


def write_page(folder: Path, results: Comparison) -> None:
    """Writes ``compare.csv`` and ``compare.html``; the page includes its pictures and needs no other file."""
    rows = table_rows(results)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    for name, content in (("compare.csv", text.getvalue()), ("compare.html", _page(folder, results, rows))):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _page(folder: Path, results: Comparison, rows: list[list[str]]) -> str:
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>cytotome compare</title>",
        f"<style>{STYLE}</style><h1>Methods on {html.escape(results.data)}</h1>",
        f"<p class='say'>{html.escape(results.recommendation)}</p>",
        f"<p>Score: the challenge's mAP on {results.images} images that the models were not trained on. "
        "Ceiling: the score of the method's decoder on perfect outputs.</p>",
        f"<table><tr>{cells}</tr>{body}</table>",
    ]
    parts += [f"<p>{html.escape(name)} failed: {html.escape(text)}</p>" for name, text in results.failures.items()]
    parts += [_pictures(folder, method) for method in results.methods]
    return "\n".join(parts)


def _pictures(folder: Path, method: MethodResult) -> str:
    """The images with the best and the worst score."""
    ranked = sorted(method.images, key=lambda name: method.images[name].score)
    chosen = [("worst", ranked[0]), ("best", ranked[-1])] if len(ranked) > 1 else [("only", ranked[0])]
    figures = []
    for word, name in chosen:
        path = folder / "pictures" / method.name / f"{name}.png"
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode()
            caption = f"{word}: {html.escape(name)}, mAP {method.images[name].score:.3f}"
            figures.append(
                f"<figure><img src='data:image/png;base64,{data}'><figcaption>{caption}</figcaption></figure>"
            )
    return f"<h2>{html.escape(method.name)}</h2>{''.join(figures)}"
