"""The scoreboard's pages, on evaluations in memory."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from gym_http_server.console import create_console, videos
from gym_http_server.console.formatting import duration, number, threshold
from gym_http_server.console.scoreboard import MAX_ALGORITHMS, MAX_NEWEST, MAX_PRELOADED_VIDEOS
from tests.support.fake_results import Evaluation, Results

from .test_console import BROWSER, View

EVALUATION = Evaluation()
PAGE = f"/scoreboard/{EVALUATION.evaluation_id}"
FILM = "openaigym.video.0.4711.video000008.mp4"
CAST = "openaigym.video.0.4711.video000027.json"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def results():
    return Results(all=[EVALUATION])


@pytest.fixture
def browser(results):
    return create_console(View(), results).test_client()


def tables(page):
    """Return the text of each cell of each table's body: tables of rows of cells."""
    return [
        [
            [text(cell) for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row, re.DOTALL)]
            for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)
        ]
        for body in re.findall(r"<tbody.*?</tbody>", page, re.DOTALL)
    ]


def text(markup):
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", markup)).split())


def test_a_row_says_how_good_an_evaluation_is(browser):
    """A row has rank, algorithm, score, when it was solved, episodes, steps, videos and date."""
    [best, _] = tables(browser.get("/scoreboard", headers=BROWSER).text)
    assert best == [["1", "ppo", "490.67", "after 72", "300", "118,034", "0", "2026-11-23"]]


def test_evaluations_are_grouped_by_environment_and_linked(results, browser):
    """Each environment is a table of its own, with its threshold, and each row leads to its evaluation."""
    results.all.append(replace(EVALUATION, evaluation_id="pend", env_id="Pendulum-v1", reward_threshold=None))
    page = browser.get("/scoreboard").text
    headings = [text(each) for each in re.findall("<h2.*?</h2>", page, re.DOTALL)]
    assert headings == ["CartPole-v1 solved at 475", "Pendulum-v1", "Newest"]
    assert [len(table) for table in tables(page)] == [1, 1, 2]
    assert {PAGE, "/scoreboard/pend"} <= set(re.findall('href="(.*?)"', page))


def test_equal_scores_share_a_rank(results, browser):
    """Who reaches the same score has the same rank, and the next one's counts all before it."""
    results.all = [
        replace(EVALUATION, evaluation_id=name, algorithm_id=name, best_mean_return=score)
        for name, score in (("a", 500.0), ("b", 500.0), ("c", 499.0))
    ]
    [best, _] = tables(browser.get("/scoreboard").text)
    assert [row[:2] for row in best] == [["1", "a"], ["1", "b"], ["3", "c"]]


def test_a_score_of_fewer_than_100_episodes_is_marked(results, browser):
    """Where there are fewer than 100 episodes the score is their mean, and says so."""
    results.all = [replace(EVALUATION, best_mean_return=None, episodes=37, episodes_to_threshold=None)]
    [best, _] = tables(browser.get("/scoreboard").text)
    assert best[0][2:4] == ["393.45 mean of only 37", "not yet"]
    assert "393.45 mean of only 37" in text(browser.get(PAGE).text)


def test_the_board_is_filtered_by_environment(results, browser):
    """`env_id` leaves one environment, and an empty one leaves all."""
    results.all.append(replace(EVALUATION, evaluation_id="pend", env_id="Pendulum-v1"))
    assert len(tables(browser.get("/scoreboard?env_id=").text)) == 3
    page = browser.get("/scoreboard?env_id=Pendulum-v1").text
    assert [len(table) for table in tables(page)] == [1, 1]
    assert '<a href="/scoreboard?env_id=Pendulum-v1" aria-current="page">' in page
    assert "There is no evaluation of Nope-v0 yet." in text(browser.get("/scoreboard?env_id=Nope-v0").text)


def test_a_crowd_of_algorithms_is_cut_until_one_asks_for_it(results, browser):
    """Of many algorithms the best are shown with a link to all, and of the evaluations the newest."""
    results.all = [
        replace(
            EVALUATION,
            evaluation_id=f"e{n}",
            algorithm_id=f"sweep {n}",
            created_at=EVALUATION.created_at + n * timedelta(1),
        )
        for n in range(MAX_ALGORITHMS + 5)
    ]
    page = browser.get("/scoreboard").text
    best, newest = tables(page)
    assert (len(best), len(newest)) == (MAX_ALGORITHMS, MAX_NEWEST)
    assert newest[0][0] == f"sweep {MAX_ALGORITHMS + 4}"
    assert f"All {MAX_ALGORITHMS + 5} algorithms in CartPole-v1" in page
    assert len(tables(browser.get("/scoreboard?env_id=CartPole-v1").text)[0]) == MAX_ALGORITHMS + 5


def test_without_evaluations_a_session_in_curl_is_shown(results, browser):
    """The empty state shows how to record and upload in curl, with the address that the reader used."""
    results.all = []
    page = browser.get("/scoreboard", base_url="http://lab.example:8080").text
    assert "<table" not in page
    session = html.unescape(re.search("<pre.*?</pre>", page, re.DOTALL)[0])
    paths = re.findall(r"http://lab\.example:8080(/v1/\S*)", session)
    env = "/v1/envs/$ID"
    assert paths == ["/v1/envs/", f"{env}/monitor/start/", f"{env}/rollout/", f"{env}/monitor/close/", "/v1/upload/"]


def test_an_evaluation_has_a_page(browser):
    """The page of an evaluation has its facts, its learning curve, its last episodes and a link to the same as JSON."""
    page = browser.get(PAGE, environ_overrides={"SCRIPT_NAME": "/gym"}).text
    words = text(page)
    for expected in (
        "ppo in CartPole-v1",
        "gymnasium 1.4.0, uploaded 2026-11-23 09:31 UTC",
        "Score 490.67 best mean of 100",
        "Solved after 72 episodes, 1 min 56 s",
        "Took 30 s",
        "300 episodes with returns from 20.00 to 500.00",
    ):
        assert expected in words
    assert f'href="/gym/v1/evaluations/{EVALUATION.evaluation_id}/"' in page
    assert page.count("<svg") == 2
    [last] = tables(page)
    assert last[0] == ["299", "500.00", "500.00", "10", "30 s"]


def test_what_an_evaluation_may_lack_is_not_missed(results, browser):
    """An evaluation without a name, a threshold or anything finite has a page all the same."""
    results.all = [
        replace(
            EVALUATION, algorithm_id=None, reward_threshold=None, episodes_to_threshold=None, mean_return=float("nan")
        )
    ]
    results.returns = [float("nan"), float("inf")]
    words = text(browser.get(PAGE).text)
    assert "Unnamed algorithm in CartPole-v1" in words
    assert "No return is a finite number, so none can be drawn." in words
    assert "unnamed" in text(browser.get("/scoreboard").text)


@pytest.mark.parametrize(
    ("returns", "words"),
    [
        ([1.0, float("nan"), 2.0], "One return is not a finite number and cannot be drawn."),
        ([1.0, float("nan"), float("inf")], "2 returns are not finite numbers and cannot be drawn."),
    ],
)
def test_returns_that_cannot_be_drawn_are_counted(results, browser, returns, words):
    """Where some returns are not finite the page says how many."""
    results.returns = returns
    assert words in text(browser.get(PAGE).text)


def test_what_comes_from_clients_is_escaped(results, browser):
    """Neither algorithm, environment, library nor file name can become markup, nor an address."""
    evil = f'"{EVIL}'
    results.all = [
        replace(EVALUATION, algorithm_id=evil, env_id=evil, library=evil, videos=(f"{evil}.mp4", f"{evil}.json"))
    ]
    for path in ("/scoreboard", PAGE, f"/scoreboard?env_id={EVIL}", f"/scoreboard/{EVIL.replace('/', '%2F')}"):
        page = browser.get(path, headers=BROWSER).text
        assert "<script>" not in page
        assert 'alert(1)"' not in page
        assert "alert" in page


def test_pages_hold_no_inline_script_or_style(results, browser):
    """The scoreboard's pages keep within the content security policy, and name only files that are served."""
    results.all = [replace(EVALUATION, videos=(FILM, CAST))]
    results.files = {FILM: b"film", CAST: b"{}"}
    for path in ("/scoreboard", PAGE):
        reply = browser.get(path)
        assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<style|<[^>]* (style|on\w+)=", reply.text)
        scripts = re.findall("<script[^>]*>", reply.text)
        assert all("src=" in tag for tag in scripts)
        addresses = set(re.findall(r'(?:src|href|data-source)="(/(?:static|scoreboard).*?)"', reply.text))
        assert len(addresses) >= 3
        # The page of an evaluation plays an asciicast, which takes a script.
        assert bool(scripts) == (path == PAGE)
        for address in addresses:
            with browser.get(address) as file:
                assert file.status_code == 200, address


def test_videos_play_in_the_page(results, browser):
    """MP4 becomes a video element, asciicast a player, and each is called by its episode, in their order."""
    many = tuple(f"openaigym.video.0.1.video{n:06d}.mp4" for n in range(30, 30 + MAX_PRELOADED_VIDEOS))
    results.all = [replace(EVALUATION, videos=(*many, "other.bin", CAST, FILM))]
    page = browser.get(PAGE).text
    titles = re.findall("<strong>(.*?)</strong>", page)
    assert titles == [
        "Episode 8",
        "Episode 27",
        *(f"Episode {n}" for n in range(30, 30 + MAX_PRELOADED_VIDEOS)),
        "other.bin",
    ]
    assert re.search(rf'<video controls playsinline preload="metadata" src="{PAGE}/videos/{FILM}"', page)
    assert f'class="cast" data-source="{PAGE}/videos/{CAST}"' in page
    assert page.count('preload="metadata"') == MAX_PRELOADED_VIDEOS - 1
    assert page.count('preload="none"') == 2


@pytest.mark.parametrize(
    ("name", "media_type", "attached"),
    [
        (FILM, "video/mp4", False),
        (CAST, "application/json", False),
        ("page.html", "application/octet-stream", True),
    ],
)
def test_a_video_is_sent_as_what_it_is(results, browser, name, media_type, attached):
    """A video has its media type, may be cached and not be sniffed, and what is no video is never shown as a page."""
    results.all, results.files = [replace(EVALUATION, videos=(name,))], {name: b"0123456789"}
    with browser.get(f"{PAGE}/videos/{name}") as reply:
        assert (reply.status_code, reply.data, reply.content_length) == (200, b"0123456789", 10)
        assert reply.content_type == media_type
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Accept-Ranges"] == "bytes"
        assert set(reply.headers["Cache-Control"].split(", ")) == {"private", "max-age=86400"}
        assert ("Content-Disposition" in reply.headers) is attached
        etag = reply.headers["ETag"]
    with browser.get(f"{PAGE}/videos/{name}", headers={"If-None-Match": etag}) as reply:
        assert (reply.status_code, reply.data) == (304, b"")
    with browser.head(f"{PAGE}/videos/{name}") as reply:
        assert (reply.content_length, reply.data) == (10, b"")
    assert results.opened
    assert all(file.closed for file in results.opened)


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-", 206, b"01234", "bytes 0-4/10"),
        ("bytes=1-8", 206, b"12345678", "bytes 1-8/10"),
        ("bytes=1-99", 206, b"123456789", "bytes 1-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=4-2", 416, None, "bytes */10"),
        ("nonsense", 416, None, "bytes */10"),
    ],
)
def test_a_part_of_a_video_is_sent(results, browser, monkeypatch, asked, status, body, content_range):
    """A range is answered with that part; of one without an end, which players ask for, only the beginning is sent."""
    monkeypatch.setattr(videos, "MAX_PIECE_BYTES", 5)
    results.all, results.files = [replace(EVALUATION, videos=(FILM,))], {FILM: b"0123456789"}
    with browser.get(f"{PAGE}/videos/{FILM}", headers={"Range": asked}) as reply:
        assert reply.status_code == status
        assert reply.headers["Content-Range"] == content_range
        if body is not None:
            assert (reply.data, reply.content_length) == (body, len(body))
    assert results.opened
    assert all(file.closed for file in results.opened)


def test_a_part_that_a_cache_holds_is_still_valid(results, browser):
    """A range of the state that is known, by If-None-Match, is a 304; a cache takes a part for an answer to the whole."""
    results.all, results.files = [replace(EVALUATION, videos=(FILM,))], {FILM: b"0123456789"}
    etag = browser.get(f"{PAGE}/videos/{FILM}").headers["ETag"]
    for known, status in ((etag, 304), ('"another"', 206)):
        headers = {"Range": "bytes=0-9", "If-None-Match": known}
        with browser.get(f"{PAGE}/videos/{FILM}", headers=headers) as reply:
            assert reply.status_code == status


def test_a_part_of_what_has_changed_is_the_whole(results, browser):
    """A range of another state of the file, by If-Range, is answered with the whole file."""
    results.all, results.files = [replace(EVALUATION, videos=(FILM,))], {FILM: b"0123456789"}
    headers = {"Range": "bytes=2-4", "If-Range": '"another"'}
    with browser.get(f"{PAGE}/videos/{FILM}", headers=headers) as reply:
        assert (reply.status_code, reply.data) == (200, b"0123456789")


@pytest.mark.parametrize("path", ["/scoreboard/nope", "/scoreboard/nope/videos/x.mp4", f"{PAGE}/videos/x.mp4"])
def test_what_is_unknown_is_not_found(browser, path):
    """An unknown evaluation or video is a 404, a page for people and problem details for programs."""
    page = browser.get(path, headers=BROWSER)
    assert (page.status_code, page.content_type) == (404, "text/html; charset=utf-8")
    problem = browser.get(path)
    assert (problem.status_code, problem.content_type) == (404, "application/problem+json")
    assert re.search("there is no evaluation 'nope'|has no video 'x.mp4'", problem.get_json()["detail"])
    assert problem.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/scoreboard", PAGE, f"{PAGE}/videos/{FILM}"])
def test_a_target_that_cannot_be_reached_is_told(results, browser, path):
    """Where the results cannot be reached, the answer is a 502 that says why."""
    results.down = True
    page = browser.get(path, headers=BROWSER)
    assert page.status_code == 502
    assert "Where this server keeps results cannot be reached: cannot read s3://results: Access Denied." in page.text
    assert browser.get(path).get_json()["status"] == 502


def test_the_pages_are_linked_with_each_other(browser):
    """Home leads to the scoreboard and back, and without results there is neither the page nor a link to it."""
    assert '<a href="/scoreboard">Scoreboard</a>' in browser.get("/").text
    page = browser.get("/scoreboard/").text
    assert '<a href="/scoreboard" aria-current="page">Scoreboard</a>' in page
    assert '<a href="/">Home</a>' in page
    alone = create_console(View()).test_client()
    assert "scoreboard" not in alone.get("/").text
    assert alone.get("/scoreboard").status_code == 404


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0.00"),
        (-1234.5, "\N{MINUS SIGN}1,234.50"),
        (0.001, "0.001"),
        (2e12, "2e+12"),
        (float("-inf"), "\N{MINUS SIGN}\N{INFINITY}"),
        (float("nan"), "not a number"),
    ],
)
def test_a_number_is_told_with_two_decimals(value, words):
    """A number has two decimals, unless they would hide it or fill the line."""
    assert number(value) == words


def test_a_threshold_keeps_its_digits():
    """A threshold is told with the digits that somebody gave it."""
    assert [threshold(each) for each in (475.0, 0.8196, -110.0)] == ["475", "0.8196", "\N{MINUS SIGN}110"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.37, "0.4 s"),
        (9.96, "9 s"),
        (116, "1 min 56 s"),
        (float("nan"), "\N{EN DASH}"),
        (1e300, "\N{EN DASH}"),
    ],
)
def test_a_duration_is_told(seconds, words):
    """Seconds are told in the largest units, with a decimal where they are few, and a dash where they are no time."""
    assert duration(seconds) == words
