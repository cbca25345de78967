"""Results as one self-contained HTML file: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pairbench
from pairbench.errors import SpecError
from pairbench.results.plots import against_cost, as_svg, learning_curves
from pairbench.results.ranking import check_metric, ranked
from pairbench.results.render import Document, Table, to_html
from pairbench.results.results import Results
from pairbench.results.tables import of_failures, of_results
from pairbench.text import printable

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { font-weight: 600; text-align: left; padding: .3rem 0; } svg { max-width: 100%; height: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; } p { color: #555; margin: .2rem 0; }
"""


def write_page(results: Results, path: Path, metric: str = "accuracy") -> None:
    """Write the ranking by `metric`, the plots, the failures and the environments of `results` to `path`.

    Raises:
        SpecError: the name does not end in .html, no result has the metric, or the file cannot be written.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise SpecError(f"{printable(str(path), 80)}: expected a name that ends in .html.")
    metrics = {name for item in results for name in item.summary}
    check_metric(metric, metrics)
    order = Results(tuple(ranked(results.items, metric)), results.store, results.damaged, metric)
    parts = [to_html(of_results(order))]
    # Without a cost or curves only the plot is missing, not the page.
    with contextlib.suppress(SpecError):
        parts.append(as_svg(against_cost(order, metric=metric)))
    with contextlib.suppress(SpecError):
        parts.append(as_svg(learning_curves(order.items)))
    if results.failed:
        parts.append(to_html(of_failures(order)))
    parts.append(to_html(_environments(order)))
    body = "\n".join(f'<div class="wide">{part}</div>' for part in parts)
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>pairbench results</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body><h1>pairbench results</h1>\n{body}\n"
        f"<p>Written by pairbench {pairbench.__version__}.</p></body></html>\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        where = printable(str(path), 80)
        raise SpecError(f"cannot write {where}: {error.strerror or error}. Choose another file.") from error


def _environments(results: Results) -> Document:
    """The distinct environments that the rounds were trained in."""
    found = {
        tuple((key, str(value)) for key, value in sorted(record["environment"].items())): None
        for item in results
        for record in item.records
    }
    tables = [Table("Trained in", ("what", "value"), rows, 2) for rows in found]
    return Document(tuple(tables))
