"""The manual: its pages, their links and anchors, and the search."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from gym_http_server.conformity.contract import DOCUMENT
from gym_http_server.console import create_console
from gym_http_server.console.manual.book import FOLDER, Book, book, slug
from tests.benchmarks.table import table
from tests.manual.generated import DOCUMENTS, FIGURES, README_FIGURES, ROOT

from .test_console import BROWSER, View

PAGES = ["/manual", *(f"/manual/{name}" for name in book().pages)]
TOPICS = {
    *("operations", "settings", "any-language", "python", "faster", "recording-and-results", "planning", "wrappers"),
    *("environments", "interpreters", "left-running", "security", "figures", "old-clients", "compatibility"),
    *("conformity", "datasets", "watching", "agents", "openenv", "cluster"),
}


class Outline(HTMLParser):
    """Ids, links, images and headings of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.styles = 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.images += [given] if tag == "img" else []
        self.styles += "style" in given


@pytest.fixture(scope="module")
def browser():
    return create_console(View()).test_client()


def test_there_is_a_page_for_each_topic(browser):
    """The contents lead to every file of the folder, and each has one heading of the first level."""
    assert set(book().pages) == TOPICS == {path.stem for path in FOLDER.glob("*.md")} - {"README"}
    for path in PAGES:
        assert browser.get(path).text.count("<h1") == 1


@pytest.mark.parametrize("path", PAGES)
def test_every_link_leads_somewhere(browser, path):
    """Pages, anchors, pictures and files are there; others are addresses of the web."""
    outline = Outline(browser.get(path, headers=BROWSER).text)
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.styles == 0  # the policy forbids them
    for link in {*outline.links, *(image["src"] for image in outline.images)}:
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            continue
        if parts.path.startswith(("/ui/", "/openapi")):  # served ahead of Flask
            continue
        with browser.get(parts.path or path, headers=BROWSER) as answer:
            assert answer.status_code == 200, link
            if parts.fragment:
                assert parts.fragment in Outline(answer.text).ids, link
    assert all(image["alt"] is not None for image in outline.images)


def test_links_work_in_the_files_too():
    """As GitHub shows the README and the manual, relative links lead to files, and their anchors to headings."""
    found = [
        (path, target) for path in DOCUMENTS for target in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text())
    ]
    assert found
    for path, target in found:
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.is_file(), (path.name, target)
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, (path.name, target)


def test_navigation_leads_to_the_manual(browser):
    """Every page of the console has the link; on a page of the manual it is the current one."""
    assert '<a href="/manual">Manual</a>' in browser.get("/").text
    assert '<a href="/manual" aria-current="page">Manual</a>' in browser.get("/manual").text
    assert '<a href="/manual" aria-current="true">Manual</a>' in browser.get("/manual/faster").text
    assert '<a href="/manual/faster" aria-current="page">Faster</a>' in browser.get("/manual/faster").text


def test_links_are_under_a_prefix(browser):
    """Behind a proxy that serves the server under a path, links and pictures of the text are under it."""
    environ = {"SCRIPT_NAME": "/gym"}
    page = browser.get("/manual/left-running", environ_overrides=environ).text
    assert 'href="/gym/manual/settings"' in page
    assert 'href="/gym/manual/operations#retries"' in page
    assert (
        'src="/gym/static/scoreboard.png'
        in browser.get("/manual/recording-and-results", environ_overrides=environ).text
    )


def test_a_heading_has_an_address(browser):
    """Its anchor is GitHub's, and a link beside it says what it links to."""
    page = browser.get("/manual/operations").text
    assert (
        '<h2 id="a-session">A session <a class="anchor" href="#a-session" aria-label="Link to “A session”">#</a></h2>'
        in page
    )
    assert slug("What `createEnv` takes, and when") == "what-createenv-takes-and-when"


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("snapshots", "/manual/planning#snapshots"),
        ("idempotency-key RETRIES", "/manual/operations#retries"),
        ("--max-async-lanes", "/manual/settings"),
        ("retired ids", "/manual/old-clients#retired-ids"),
    ],
)
def test_a_search_finds_sections(browser, query, first):
    """All words count, in any case, in headings first; what was found is marked."""
    page = browser.get("/manual", query_string={"q": query}).text
    links = re.findall(r'<li>\s*<a href="([^"]+)"', page)
    assert links[0] == first
    assert "<mark>" in page


@pytest.mark.parametrize(
    ("query", "same"), [("time-out", "timeout"), ("Call-TimeOut", "calltimeout"), ("idempotencykey", "idempotency-key")]
)
def test_hyphens_make_no_difference_to_a_search(browser, query, same):
    """However a word is written, the same sections are found and the word is marked."""
    found, other = (browser.get("/manual", query_string={"q": each}).text for each in (query, same))
    links = re.findall(r'<li>\s*<a href="([^"]+)"', found)
    assert links
    assert links == re.findall(r'<li>\s*<a href="([^"]+)"', other)
    assert "<mark>" in found


def test_a_search_that_finds_nothing_says_so(browser):
    """It shows the words again, as text."""
    page = browser.get("/manual?q=<b>zebra</b>").text
    assert "No section of the manual has all of <code>&lt;b&gt;zebra&lt;/b&gt;</code>" in page
    assert "<b>zebra" not in page
    assert "<h1>The gym-http-server manual" not in browser.get("/manual?q=.*").text
    assert browser.get("/manual?q=%20").text.count('id="the-gym-http-server-manual"') == 1


def test_what_is_no_page_is_not_found(browser):
    """The answer says where the pages are; no file beside them is served."""
    for path in ("/manual/nothing", "/manual/README", "/manual/..%2Fbook", "/manual/nothing.md"):
        answer = browser.get(path)
        assert answer.status_code == 404
    assert "/manual" in browser.get("/manual/nothing").json["message"]


def test_programs_read_the_markdown(browser):
    """Each page is there as its file, under its name with `.md`."""
    for name in ("faster", "README"):
        answer = browser.get(f"/manual/{name}.md")
        assert answer.content_type == "text/markdown; charset=utf-8"
        assert answer.text == (FOLDER / f"{name}.md").read_text()


def test_every_figure_is_a_row_of_the_benchmark():
    """What the manual and the README show can be measured again."""
    rows = {f"{row['group']}: {row['name']}" for row in json.loads(FIGURES.read_text())["rows"]}
    assert rows | set(README_FIGURES) <= {row.title for row in table()}


def test_every_operation_is_in_the_reference(browser):
    """So the search finds it."""
    page = browser.get("/manual/operations").text
    operations = [
        each["operationId"] for item in DOCUMENT["paths"].values() for each in item.values() if "operationId" in each
    ]
    assert len(operations) > 30
    assert [name for name in operations if f"<code>{name}</code>" not in page] == []


def test_the_readme_is_short():
    """It has at most 120 lines and ten figures, and two small pictures of the console."""
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    assert len(README_FIGURES) <= 10
    assert text.partition("<!-- generated: readme-figures -->")[2].count("\n| ") - 2 <= 10
    pictures = [ROOT / name for name in re.findall(r"!\[[^]]+\]\(([^)]+\.png)\)", text)]
    assert len(pictures) == 2
    for picture in pictures:
        assert picture.is_relative_to(ROOT / "gym_http_server")
        assert picture.stat().st_size < 200_000


def test_two_headings_of_a_page_never_share_an_anchor(tmp_path):
    """GitHub would number the second; here the page is refused."""
    (tmp_path / "README.md").write_text("# Contents\n\n[A](a.md)\n")
    (tmp_path / "a.md").write_text("# A\n\n## B\n\n## B\n")
    with pytest.raises(ValueError, match=r"a\.md has two headings 'B'"):
        Book(tmp_path)


def test_the_server_starts_without_the_markdown_library():
    """Making the console does not load it: the first page of the manual does."""
    code = (
        "import sys; from gym_http_server.console import create_console\n"
        "from tests.unit.console.test_console import View\n"
        "browser = create_console(View()).test_client()\n"
        "assert browser.get('/').status_code == 200 and 'markdown_it' not in sys.modules\n"
        "assert browser.get('/manual').status_code == 200 and 'markdown_it' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
