"""Names that try to be something else than text, and what each form of output must not become."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

from markdown_it import MarkdownIt

NAMES = {
    "rich markup": "[bold]x[/bold] [/red] [link=http://a]y[/link]",
    "closing markup": "[/]",
    "escapes": "\x1b[2J\x1b[31mred\x1b]8;;http://a\x07link\x1b]8;;\x07",
    "one byte escapes": "\x9b31m\x85",
    "carriage return": "good\rbad",
    "newlines": "a\n\n# b\n| c |\n- d",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "html entities": "&lt;script&gt; &amp; &#60;",
    "attribute": "\" onmouseover='x'",
    "formula": "=1+1",
    "formula command": "@SUM(A1)|cmd",
    "plus formula": "+1+1",
    "minus formula": '-2+3+cmd|" /C calc"!A0',
    "tab formula": "\t=1",
    "space formula": "  =1+1",
    "wide formula": "\uff1d1+1",
    "bidi": "\u202egpj.exe\u2066",
    "zero width": "a\u200b\ufeffb",
    "surrogate": "\ud800",
    "nul": "a\0b",
    "ten kilobytes": "x" * 10_000,
    "ten kilobytes of wide letters": "\u6570" * 10_000,
    "combining": "e" + "\u0301" * 200,
    "markdown link": "[a](http://a)",
    "markdown image": "![a](http://a/b.png)",
    "markdown reference": "[a]: http://a",
    "markdown pipe": "a|b",
    "markdown escaped pipe": "a\\|b",
    "markdown backslash": "a\\",
    "markdown code": "`a` ``b``",
    "markdown emphasis": "*a* __b__ _c_ ~~d~~ ***e***",
    "markdown heading": "# a",
    "markdown rule": "---",
    "markdown table": "| --- | --- |",
    "markdown number": "1. a",
    "markdown list": "+ a",
    "markdown task": "[ ] a",
    "markdown autolink": "<http://a>",
    "json": '"}], "x": [{"a": "',
    "quotes": "'\"`",
    "spec": "encoder=cnn loss=aux",
    "empty": "",
    "spaces": "   ",
    "percent": "%s %(name)s {0} {name}",
}


def check_terminal(text: str) -> None:
    """Plain text has no character that moves a cursor, turns text round or hides."""
    assert all(line.isprintable() for line in text.split("\n")), [
        line for line in text.split("\n") if not line.isprintable()
    ]


def check_markdown(text: str, columns: list[int]) -> None:
    """Rendered, the text is paragraphs in bold, tables of so many columns, and lists of plain text; nothing else."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    kinds, widths, row = set(), [], 0
    for token in parser.parse(text):
        kinds.add(token.type)
        row = 0 if token.type == "tr_open" else row + (token.type in ("td_open", "th_open"))
        widths += [row] if token.type == "tr_close" else []
        for child in token.children or []:
            assert child.type in {"text", "text_special", "strong_open", "strong_close", "html_entity"}, child
    containers = {"paragraph", "table", "thead", "tbody", "tr", "th", "td", "bullet_list", "list_item"}
    assert kinds <= {"inline"} | {f"{name}_{end}" for name in containers for end in ("open", "close")}, kinds
    assert widths == columns


def shown_in_markdown(text: str) -> str:
    """The text that a reader of the rendered Markdown sees."""
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    return html.unescape(re.sub(r"<[^>]*>", "", rendered))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert attrs == []
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def check_html(text: str) -> str:
    """The fragment has tables and paragraphs without attributes and nothing else; gives back its text."""
    parser = _Tags()
    parser.feed(text)
    parser.close()
    assert parser.tags <= {"table", "caption", "tr", "th", "td", "p"}
    check_terminal(text)
    return "\n".join(parser.text)


def check_csv(text: str) -> list[list[str]]:
    """Every row has as many cells as the header, and no cell is a formula; gives back the rows."""
    rows = list(csv.reader(io.StringIO(text)))
    assert len({len(row) for row in rows}) == 1
    for row in rows:
        for cell in row:
            check_terminal(cell)
            number = re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell)
            assert number or cell == "-" or not cell.lstrip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20")), cell
    return rows


def check_json(text: str) -> Any:
    """The text is one JSON document in plain ASCII without NaN; gives back its value."""
    assert text.isascii()
    assert all(line.isprintable() for line in text.split("\n"))

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)
