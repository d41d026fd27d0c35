"""`Book`: the Markdown files of the manual, parsed once, rendered for each reader, and searched by section."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

FOLDER = Path(__file__).parent
CONTENTS = "README"
"""Name of the contents page, which GitHub shows below the folder's files; its links define the order of the pages."""

_PAGE_LINK = re.compile(r"(?P<name>[\w-]+)\.md(?P<anchor>#.*)?")
_FILE_LINK = re.compile(r"\.\./static/(?P<name>[\w-]+\.\w+)")
_EXCERPT_CHARACTERS = 180


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what follows up to the next one.

    Attributes:
        page: name of its page.
        title: its heading.
        anchor: id of its heading, the same as GitHub's.
        level: 1 for the page's own heading.
        blocks: texts of its paragraphs, list items, table rows and code blocks.
    """

    page: str
    title: str
    anchor: str
    level: int
    blocks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file.

    Attributes:
        name: file name without `.md`.
        source: its Markdown.
        tokens: the parsed Markdown.
        sections: its sections; the first is the whole page's.
    """

    name: str
    source: str
    tokens: list[Token]
    sections: list[Section]

    @property
    def title(self) -> str:
        """Heading of the page."""
        return self.sections[0].title


@dataclass(frozen=True, slots=True)
class Hit:
    """A section found by a search, with an excerpt: pairs of a text and whether it matches."""

    section: Section
    page_title: str
    excerpt: list[tuple[str, bool]]


class Book:
    """The manual.

    Args:
        folder: directory of the Markdown files.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._markdown = _markdown()
        self.contents = self._read(folder / f"{CONTENTS}.md")
        names = [match["name"] for href in _links(self.contents.tokens) if (match := _PAGE_LINK.fullmatch(href))]
        self.pages = {name: self._read(folder / f"{name}.md") for name in names}

    def _read(self, path: Path) -> Page:
        source = path.read_text(encoding="utf-8")
        tokens = self._markdown.parse(source)
        return Page(path.stem, source, tokens, _sections(path.stem, tokens))

    def render(self, page: Page, page_url: Callable[[str], str], file_url: Callable[[str], str]) -> str:
        """Return a page as HTML.

        Args:
            page: the page.
            page_url: returns the URL of the page of a name.
            file_url: returns the URL of a file in the console's `static` folder.
        """
        env = {"page_url": page_url, "file_url": file_url}
        html: str = self._markdown.renderer.render(page.tokens, self._markdown.options, env)
        return html

    def search(self, query: str, max_hits: int) -> list[Hit]:
        """Return the sections with all words of `query`, the best first: words in the heading count most."""
        words = list(dict.fromkeys(_plain(query).split()))
        if not words:
            return []
        ranked = []
        for page in self.pages.values():
            for section in page.sections:
                rank = _rank(section, page.title, words)
                if rank is not None:
                    ranked.append((rank, section, page.title))
        # Stable: equal sections stay in the order of the contents.
        ranked.sort(key=lambda entry: entry[0], reverse=True)
        return [Hit(section, title, _excerpt(section, words)) for _, section, title in ranked[:max_hits]]


@cache
def book() -> Book:
    """Return the manual of this package, read on first use."""
    return Book()


def _markdown() -> MarkdownIt:
    # Imported here because a server starts faster without it.
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark").enable("table")
    for name, rule in _RULES.items():
        markdown.add_render_rule(name, rule)
    return markdown


def slug(title: str) -> str:
    """Return GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _links(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        for child in token.children or ():
            if child.type == "link_open":
                yield str(child.attrs["href"])


def _sections(page: str, tokens: Sequence[Token]) -> list[Section]:
    sections: list[Section] = []
    row: list[str] | None = None
    anchors: set[str] = set()
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            title = _text(tokens[index + 1])
            anchor = slug(title)
            if anchor in anchors:
                raise ValueError(f"{page}.md has two headings {title!r}, whose anchors would be the same")
            anchors.add(anchor)
            token.attrs["id"] = anchor
            token.meta["title"] = title
            sections.append(Section(page, title, anchor, int(token.tag[1:])))
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close" and row:
            sections[-1].blocks.append(" · ".join(filter(None, row)))
            row = None
        elif token.type == "inline" and tokens[index - 1].type != "heading_open":
            (sections[-1].blocks if row is None else row).append(_text(token))
        elif token.type == "fence":
            sections[-1].blocks.append(token.content.strip())
    return sections


def _text(inline: Token) -> str:
    parts = [" " if child.type in ("softbreak", "hardbreak") else child.content for child in inline.children or ()]
    return "".join(parts).strip()


def _plain(text: str) -> str:
    """Return a text for comparison, without case and hyphens: `time-out` equals `timeout`."""
    return text.casefold().replace("-", "")


def _rank(section: Section, page_title: str, words: Sequence[str]) -> tuple[int, int] | None:
    heading, title = _plain(section.title), _plain(page_title)
    text = _plain("\n".join(section.blocks))
    if not all(word in heading or word in text or word in title for word in words):
        return None
    if not any(word in heading or word in text for word in words):
        return None
    return sum(word in heading for word in words), sum(text.count(word) for word in words)


def _excerpt(section: Section, words: Sequence[str]) -> list[tuple[str, bool]]:
    if not section.blocks:
        return []
    block = max(section.blocks, key=lambda text: sum(word in _plain(text) for word in words))
    letters = ("-?".join(map(re.escape, word)) for word in sorted(words, key=len, reverse=True))
    pattern = re.compile("|".join(letters), re.IGNORECASE)
    first = pattern.search(block)
    begin = max(0, first.start() - _EXCERPT_CHARACTERS // 3) if first else 0
    if begin:
        begin = block.find(" ", begin) + 1  # at a word
    part = block[begin : begin + _EXCERPT_CHARACTERS]
    part = ("… " if begin else "") + part + (" …" if begin + _EXCERPT_CHARACTERS < len(block) else "")
    pieces, at = [], 0
    for match in pattern.finditer(part):
        pieces += [(part[at : match.start()], False), (match[0], True)]
        at = match.end()
    return [piece for piece in [*pieces, (part[at:], False)] if piece[0]]


def _heading_close(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
    opened = tokens[index - 2]
    if opened.tag == "h1":
        return "</h1>\n"
    label = escape(opened.meta["title"])
    return f' <a class="anchor" href="#{opened.attrs["id"]}" aria-label="Link to “{label}”">#</a></{opened.tag}>\n'


def _link_open(_: RendererHTML, tokens: Sequence[Token], index: int, __: Any, env: Any) -> str:
    token = tokens[index]
    match = _PAGE_LINK.fullmatch(str(token.attrs["href"]))
    href = env["page_url"](match["name"]) + (match["anchor"] or "") if match else str(token.attrs["href"])
    return f'<a href="{escape(href)}">'


def _image(_: RendererHTML, tokens: Sequence[Token], index: int, __: Any, env: Any) -> str:
    token = tokens[index]
    match = _FILE_LINK.fullmatch(str(token.attrs["src"]))
    source = env["file_url"](match["name"]) if match else str(token.attrs["src"])
    return f'<img src="{escape(source)}" alt="{escape(token.content)}" loading="lazy">'


def _fence(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
    # A scrollable element must be reachable by keyboard and have a label.
    token = tokens[index]
    language = _LANGUAGES.get(token.info, token.info)
    label = f"{language} code".strip()
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)} {index}"><code>{escape(token.content)}</code></pre>\n'


def _table_open(*_: Any) -> str:
    return '<div class="wide" tabindex="0" role="region" aria-label="Table"><table>\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"


def _cell_open(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
    # The pages' Content-Security-Policy forbids the library's style attribute.
    token = tokens[index]
    number = ' class="number"' if "right" in str(token.attrs.get("style", "")) else ""
    scope = ' scope="col"' if token.tag == "th" else ""
    return f"<{token.tag}{scope}{number}>"


def _no_html(*_: Any) -> str:
    return ""


_LANGUAGES = {"sh": "Shell", "python": "Python", "js": "JavaScript", "ts": "TypeScript", "go": "Go", "java": "Java"}
_RULES: dict[str, Callable[..., str]] = {
    "heading_close": _heading_close,
    "link_open": _link_open,
    "image": _image,
    "fence": _fence,
    "table_open": _table_open,
    "table_close": _table_close,
    "th_open": _cell_open,
    "td_open": _cell_open,
    "html_block": _no_html,  # comments, which mark tests and generated parts
}
