"""Claims about the page of a collection: in a headless browser, and by plain requests."""

from __future__ import annotations

import contextlib
import csv
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from threading import Event, Thread

import pytest
from PIL import Image

from browser import CHROMIUM, WITHOUT, Browser
from commandline import viewkin
from served import COPY, IMAGES, ask, post, served, shop  # noqa: F401 (a fixture)
from viewkin.explorer.uploads import MOST_BYTES

ROWS = IMAGES + 1
AXE = Path(__file__).parents[2] / "build" / "explore" / "node_modules" / "axe-core" / "axe.min.js"
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT)


@pytest.fixture(scope="module")
def page(shop):  # noqa: F811
    """Both collections, served; marks are made in it."""
    with served(shop / "one.collection", shop / "two.collection") as page:
        page.collections[0].map.job.wait(60)
        yield page


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser; each test opens the page anew."""
    window = Browser(tmp_path_factory.mktemp("browser"))
    yield window
    window.close()


@pytest.fixture
def seen(browser, page):
    """The page in the browser, its map drawn; nothing may be wrong with it at the end."""
    browser.size(1280, 800)
    browser.console.clear()
    browser.requested.clear()
    browser.open(page.address)
    browser.until("document.body.dataset.ready")
    browser.until("document.querySelectorAll('#pictures img').length")
    yield browser
    browser.run("1")  # takes the last events
    assert browser.console == []
    foreign = [one for one in browser.requested if not one.startswith((page.address, "blob:", "data:", "about:"))]
    assert foreign == []


def middle(browser, picture="#pictures img"):
    """Where a point lies: the middle of a picture."""
    left, top, width, height = browser.box(picture)
    return left + width / 2, top + height / 2


def corner(browser):
    """Row of a picture that is well in view, and a place near its lower right corner."""
    return browser.run(
        """(() => {
          const map = document.querySelector('#map').getBoundingClientRect();
          for (const picture of document.querySelectorAll('#pictures img')) {
            const { left, top } = picture.getBoundingClientRect();
            if (left < map.left + 60 || left > map.right - 120) continue;
            if (top < map.top + 60 || top > map.bottom - 120) continue;
            return [Number(picture.src.split('/thumbnail/')[1].split('?')[0]), left + 46, top + 46];
          }
        })()"""
    )


def opens(browser, row):
    """Wait until an image is shown with its neighbours."""
    browser.until(f"document.querySelector('#view-image .subject img')?.src.includes('/thumbnail/{row}?')")
    browser.until("document.querySelectorAll('[data-answer=\"1\"] .card').length === 12")


def status(browser):
    return browser.text("#status")


@in_a_browser
def test_the_map_shows_every_image_and_zoom_shows_more_of_them_as_pictures(seen):
    assert seen.text("#title") == f"one.collection: {ROWS} images"
    assert "Map by" in status(seen)
    assert [
        one.split(" ")[0] for one in seen.run("[...document.querySelectorAll('#legend li')].map(e => e.textContent)")
    ] == [
        "cat",
        "dog",
        "eel",
    ]
    left, top, width, height = seen.box("#map")
    before = seen.run("document.querySelector('#pictures img').style.transform")
    seen.wheel(left + width / 2, top + height / 2, -400)
    seen.until(f"document.querySelector('#pictures img').style.transform !== {json.dumps(before)}")
    seen.click("#whole")
    seen.click("#show-pictures")
    seen.until("document.querySelectorAll('#pictures img').length === 0")


@in_a_browser
def test_a_click_shows_neighbours_in_both_collections_what_differs_and_kin(seen):
    seen.click(middle(seen))
    seen.until("document.querySelectorAll('[data-answer=\"1\"] .card').length === 12")
    assert re.fullmatch(r"\d+ of 12 neighbours are the same in both\.", seen.text(".shared"))
    texts = seen.run("[...document.querySelectorAll('[data-answer=\"0\"] .card')].map(e => e.textContent)")
    assert all(re.search(r"only here|there \d+\.|same rank", text) for text in texts)
    seen.until("document.querySelectorAll('.kin .card').length")
    assert "Taken for kin in training: interclr/positives" in seen.text("#view-image")


@in_a_browser
def test_a_lasso_makes_a_list_that_is_exported(seen, tmp_path):
    left, top, width, height = seen.box("#map")
    seen.downloads_to(tmp_path)
    seen.click("#lasso")
    corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.04)]
    seen.drag([(left + x * width, top + y * height) for x, y in corners])
    seen.until("document.querySelector('#view-selection .export')")
    count = int(re.match(r"\d+", seen.text("#view-selection h2"))[0])
    assert ROWS / 2 < count <= ROWS
    seen.click("#view-selection .export")
    end = time.monotonic() + 30
    while not (found := list(tmp_path.glob("*.csv"))):
        assert time.monotonic() < end
        time.sleep(0.05)
    rows = list(csv.DictReader(found[0].read_text().splitlines()))
    assert len(rows) == count
    assert {row["class_name"] for row in rows} <= {"cat", "dog", "eel"}
    assert all(Path(row["path"]).is_file() for row in rows)


@in_a_browser
def test_text_and_conditions_select(seen):
    seen.run("document.querySelector('#find-text').value = 'class_name=dog'")
    seen.click("#find button")
    seen.until("document.querySelector('#view-selection h2')?.textContent === '24 images selected'")
    seen.run("document.querySelector('#find-text').value = 'copy of'")
    seen.click("#find button")
    seen.until("document.querySelector('#view-selection h2')?.textContent === '1 image selected'")


@in_a_browser
def test_an_image_is_searched_by_when_it_is_chosen_dropped_or_pasted(seen, shop, tmp_path):  # noqa: F811
    photo = shutil.copy(shop / "photos" / "dog" / "001.jpg", tmp_path / "mine.jpg")
    seen.choose_file("#upload", Path(photo))
    seen.until("document.querySelector('#status').textContent === 'Searched by mine.jpg.'")
    assert seen.run("document.querySelector('[data-answer=\"0\"] .card').dataset.key") == "dog/001.jpg"
    assert seen.run("document.querySelector('[data-answer=\"1\"] .card').dataset.key") == "dog/001.jpg"
    made = """(async () => {{
      const blob = await (await fetch("/api/0/thumbnail/0")).blob();
      const data = new DataTransfer();
      data.items.add(new File([blob], "{name}.jpg", {{type: "image/jpeg"}}));
      document.dispatchEvent({event});
    }})()"""
    seen.run(made.format(name="dropped", event="new DragEvent('drop', {dataTransfer: data, cancelable: true})"))
    seen.until("document.querySelector('#status').textContent === 'Searched by dropped.jpg.'")
    seen.run(made.format(name="pasted", event="new ClipboardEvent('paste', {clipboardData: data, cancelable: true})"))
    seen.until("document.querySelector('#status').textContent === 'Searched by pasted.jpg.'")


@in_a_browser
def test_colours_change_by_column_and_the_other_map_is_shown(seen):
    for name, says in (("size", "Coloured by size."), ("cluster", "Coloured by cluster.")):
        seen.run(
            f"(() => {{ const e = document.querySelector('#colour'); e.value = '{name}';"
            "e.dispatchEvent(new Event('change')); })()"
        )
        seen.until(f"document.querySelector('#status').textContent === '{says}'")
    seen.run(
        "(() => { const e = document.querySelector('#map-of'); e.value = '1';e.dispatchEvent(new Event('change')); })()"
    )
    seen.until(f"document.querySelector('#title').textContent === 'two.collection: {ROWS} images'")
    seen.until("document.querySelector('#status').textContent.startsWith('Map by t-SNE')")


@in_a_browser
def test_lists_are_gone_through_by_keys_and_marks_outlast_the_server(shop, browser, tmp_path):  # noqa: F811
    place = shutil.copytree(shop / "one.collection", tmp_path / "one.collection")
    with served(place) as page:
        browser.open(page.address)
        browser.until("document.body.dataset.ready")
        browser.click("#tab-duplicates")
        browser.until("document.querySelector('#view-duplicates .group .card')")
        keys = browser.run(
            "[...document.querySelectorAll('#view-duplicates .group .card')].slice(0, 2).map(e => e.dataset.key)"
        )
        assert COPY in keys
        browser.run("document.querySelector('#view-duplicates .group .card').focus()")
        browser.press("ArrowRight")
        browser.press("2")
        browser.until("document.querySelector('.card[data-mark=\"remove\"]')")
        assert browser.run("document.activeElement.dataset.key") == keys[1]
        browser.press(" ")
        assert browser.until("document.querySelector('#large').open")
        browser.press("Escape")
        browser.until("!document.querySelector('#large').open")
        browser.click("#tab-outliers")
        browser.until("document.querySelectorAll('#view-outliers .card').length === 10")
        browser.run("document.querySelector('#view-outliers .card').focus()")
        browser.press("3")
        browser.until("document.querySelector('#view-outliers .card[data-mark=\"check\"]')")
        browser.press("Enter")
        browser.until("document.querySelectorAll('#view-image .card').length >= 12")
    with served(place) as page:
        browser.open(page.address)
        browser.until("document.body.dataset.ready")
        browser.click("#tab-marked")
        browser.until("document.querySelectorAll('#view-marked .card').length === 2")
        assert browser.run("document.querySelector('#view-marked .card[data-mark=\"remove\"]').dataset.key") == keys[1]


@in_a_browser
def test_n_parts_a_pair_for_good(shop, browser, tmp_path):  # noqa: F811
    place = shutil.copytree(shop / "one.collection", tmp_path / "one.collection")
    with served(place) as page:
        browser.open(page.address)
        browser.until("document.body.dataset.ready")
        browser.click("#tab-duplicates")
        browser.until("document.querySelector('#view-duplicates .group .card')")
        browser.run("document.querySelectorAll('#view-duplicates .group .card')[1].focus()")
        browser.press("n")
        browser.until("document.querySelector('#status').textContent === 'Remembered as no duplicate.'")
    ended = viewkin("duplicates", place)
    assert ended.code == 0, ended.err
    assert "Exact: 0 copies in 0 groups." in ended.out


@in_a_browser
def test_the_map_moves_by_keys(seen):
    transform = "document.querySelector('#pictures img').style.transform"
    seen.run("document.querySelector('#points').focus()")
    for key in ("ArrowRight", "ArrowUp", "+", "-"):
        before = seen.run(transform)
        seen.press(key)
        seen.until(f"{transform} !== {json.dumps(before)}")
    seen.press("0")


@in_a_browser
def test_one_finger_moves_the_map_two_zoom_and_a_tap_opens_an_image(seen):
    for _ in range(3):
        seen.click("#zoom-out")  # so that all of it stays in view
    time.sleep(0.5)
    left, top, width, height = seen.box("#map")
    x, y = left + width / 2, top + height / 2
    lefts = "[...document.querySelectorAll('#pictures img')].map(e => e.getBoundingClientRect().left)"
    ends = f"(v => [Math.min(...v), Math.max(...v)])({lefts})"
    low, high = seen.run(ends)
    seen.touch([(x, y)], [(x + 20, y)], [(x + 60, y + 30)])
    seen.until(f"Math.abs({ends}[0] - {low + 60}) < 3 && Math.abs({ends}[1] - {high + 60}) < 3")
    seen.touch([(x - 20, y), (x + 20, y)], [(x - 25, y), (x + 25, y)], [(x - 30, y), (x + 30, y)])
    seen.until(f"(([a, b]) => Math.abs((b - a) / {high - low} - 1.5) < 0.1)({ends})")
    seen.click("#whole")
    time.sleep(0.5)
    row, *place = corner(seen)
    seen.touch([place])
    opens(seen, row)


@in_a_browser
def test_a_click_at_the_corner_of_a_picture_opens_it(seen):
    row, *place = corner(seen)
    seen.click(tuple(place))
    opens(seen, row)


def filled(seen, kind, **fields):
    """Fill in the form of a list and send it; waits for what is found."""
    seen.run(f"document.querySelector('#tab-{kind}').click()")
    seen.until(f"document.querySelector('#view-{kind} form')")
    for name, value in fields.items():
        seen.run(f"document.querySelector('#view-{kind}-{name}').value = {json.dumps(value)}")
    done = f"document.querySelector('#view-{kind} .export, #view-{kind} .error')"
    seen.until(done)  # the list that empty fields ask for
    seen.run(f"{done}.remove()")
    seen.run(f"document.querySelector('#view-{kind} [type=submit]').click()")
    seen.until(done)
    return seen.run(f"[...document.querySelectorAll('#view-{kind} .card')].map(e => e.dataset.key)")


@in_a_browser
def test_what_the_commands_choose_is_chosen_in_the_page_too(seen, shop):  # noqa: F811
    keys = filled(seen, "select", n="5", method="k-centre")
    ended = viewkin("select", shop / "one.collection", "-n", "5", "--method", "k-centre", "--json")
    assert keys == [row["key"] for row in json.loads(ended.out)]
    seen.run("document.querySelector('#view-select .select-all').click()")
    seen.until("document.querySelector('#view-selection h2')?.textContent === '5 images selected'")


@in_a_browser
def test_clusters_doubtful_labels_and_poor_pictures_are_lists_of_the_page(seen):
    assert len(filled(seen, "clusters", k="3")) == 36
    buttons = "[...document.querySelectorAll('#view-clusters button')]"
    assert sum(seen.run(f"{buttons}.map(e => e.textContent)").count(f"Select these {n} images") for n in range(74)) == 3
    seen.run(f"{buttons}.find(e => e.textContent === 'Colour by cluster').click()")
    seen.until("document.querySelector('#status').textContent === 'Coloured by cluster.'")
    assert len(seen.run("[...document.querySelectorAll('#legend li')].map(e => e.textContent)")) == 3
    assert len(filled(seen, "suspects", n="4")) == 4
    assert re.search(r"is \w+like \w+doubt 0\.\d+", seen.text("#view-suspects .card"))
    seen.run("document.querySelector('#tab-quality').click()")
    seen.until("document.querySelector('#view-quality').textContent.includes('0 tiny.')")


@in_a_browser
def test_marks_are_passed_on_as_labels_and_colour_the_map(shop, browser, tmp_path):  # noqa: F811
    place = shutil.copytree(shop / "one.collection", tmp_path / "one.collection")
    with served(place) as page:
        post(page, "/api/0/marks", {"rows": [0], "mark": "keep"})
        post(page, "/api/0/marks", {"rows": [30], "mark": "remove"})
        browser.open(page.address)
        browser.until("document.body.dataset.ready")
        assert len(filled(browser, "label", labels="mark")) == 60
        assert "2 images had a label. 71 of the other 71 have one now." in browser.text("#view-label")
        browser.run(
            "[...document.querySelectorAll('#view-label button')]"
            ".find(e => e.textContent === 'Colour by predicted').click()"
        )
        browser.until("document.querySelector('#status').textContent === 'Coloured by predicted.'")
        legend = browser.run("[...document.querySelectorAll('#legend li')].map(e => e.textContent.split(' ')[0])")
        assert set(legend) == {"keep", "remove"}


@in_a_browser
def test_a_map_that_is_being_drawn_can_be_stopped_and_begun_again(shop, browser, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("viewkin.explorer.projection.ROUNDS", 100_000)
    place = shutil.copytree(shop / "one.collection", tmp_path / "one.collection")
    shutil.rmtree(place / "explore", ignore_errors=True)
    with served(place) as page:
        browser.open(page.address)
        for _ in range(2):
            browser.until("!document.querySelector('#stop-map').hidden")
            browser.until(r"/Drawing the map [\d,]+ of 100,250/.test(document.querySelector('#status').textContent)")
            browser.click("#stop-map")
            browser.until("!document.querySelector('#draw-map').hidden")
            assert browser.text("#status") == "Map by principal components."
            browser.click("#draw-map")
    assert not list(place.glob("explore/map-*"))


@in_a_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_its_width_and_axe_finds_nothing_wrong(seen, width):
    seen.click(middle(seen))
    seen.until("document.querySelectorAll('[data-answer=\"1\"] .card').length === 12")
    seen.size(width, 760)
    seen.until(f"innerWidth === {width}")
    reach = "Math.max(...[...document.querySelectorAll('body *')].filter(e => !e.closest('#pictures, #tip, dialog'))"
    assert seen.run(f"{reach}.map(e => e.getBoundingClientRect().right))") <= width
    assert seen.run("document.documentElement.scrollWidth") <= width
    if not AXE.is_file():
        pytest.skip("needs axe-core: python scripts/bundle_explore.py puts it into build/explore")
    seen.run(f"{AXE.read_text()}; 1")
    for tab in ("image", "selection", "duplicates", "quality", "suspects", "clusters", "select", "label", "marked"):
        seen.run(f"document.querySelector('#tab-{tab}').click()")
        seen.until(f"document.querySelector('#view-{tab}').children.length")
        seen.until(f"!document.querySelector('#view-{tab} progress')")
        assert seen.run("document.documentElement.scrollWidth") <= width, tab
        found = seen.run(
            "axe.run({resultTypes: ['violations']}).then(r => r.violations.map(v => [v.id, v.nodes[0].html]))"
        )
        assert found == [], tab


def test_the_page_is_in_the_package(page):
    for address in ("/", "/page.js", "/page.css", "/favicon.ico", "/licences.txt"):
        assert ask(page, address).status == 200
    policy = ask(page, "/").headers["content-security-policy"]
    assert "script-src 'self' 'unsafe-eval';" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "http" not in policy
    text = ask(page, "/").body.decode()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=|https?://", text)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Host": "localhost.evil.example:80"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"},
    ],
)
def test_requests_of_others_are_refused(page, headers):
    for path in ("/api/collections", "/api/0/thumbnail/0", "/page.js"):
        assert ask(page, path, **headers).status == 403
    if "Host" in headers:
        assert ask(page, "/", **headers).status == 403


def test_a_link_from_elsewhere_opens_the_page_alone(page):
    assert ask(page, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    assert ask(page, "/api/collections", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 403


def test_a_change_needs_the_origin_of_the_page(page):
    body = json.dumps({"rows": [0], "mark": "keep"}).encode()
    assert ask(page, "/api/0/marks", "POST", body).status == 403
    assert ask(page, "/api/0/marks", "POST", body, Origin="http://evil.example").status == 403
    assert ask(page, "/api/0/marks", "PUT", body, Origin=page.address.rstrip("/")).status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2f..%2fetc/passwd",
        "/page/../app.py",
        "//etc/passwd",
        "/app.py",
        "/api/0/thumbnail/../../../etc/passwd",
        "/api/0/thumbnail/..%2f..%2fetc%2fpasswd",
        "/api/0/thumbnail/-1",
        f"/api/0/thumbnail/{ROWS}",
        "/api/0/thumbnail/99999999999999999999999999",
        "/api/2/thumbnail/0",
        "/api/0/picture/%00",
        "/api/0/column/..%2f..%2fetc%2fpasswd",
        "/api/0/findings/nothing",
    ],
)
def test_no_path_leads_out(page, path):
    answer = ask(page, path)
    assert answer.status == 404, answer.body
    assert b"root:" not in answer.body
    assert b"project" not in answer.body


def encoded(size, kind="PNG", **options):
    sink = BytesIO()
    Image.new("L", size).save(sink, kind, **options)
    return sink.getvalue()


def test_uploads_are_bounded(page):
    too_long = ask(
        page, "/api/search", "POST", b"", Origin=page.address.rstrip("/"), Content_Length=str(MOST_BYTES + 1)
    )
    assert too_long.status == 413
    assert "over the limit of 32 MB" in too_long.json()["error"]
    assert ask(page, "/api/search", "POST", b"", Origin=page.address.rstrip("/"), Content_Length="-1").status in (
        400,
        413,
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cannot be read as an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be read as an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "EPS are not taken"),
        (encoded((40000, 40000), optimize=True), "pixels"),
        (encoded((9000, 9000)), "9,000 x 9,000 pixels are over the limit"),
        (encoded((30, 30))[:40], "read"),
    ],
    ids=["empty", "svg", "eps", "bomb", "large", "cut"],
)
def test_what_is_no_picture_or_a_bomb_is_refused_in_a_sentence(page, data, why):
    answer = post(page, "/api/search", data)
    assert answer.status == 400
    assert why in answer.json()["error"]
    assert "/" not in answer.json()["error"].replace(" / ", "")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, {"rows": "0"}, {"rows": [-1]}, {"rows": [ROWS]}, {"rows": [True]}, [], {}]
)
def test_lists_that_are_none_are_refused(page, body):
    for address in ("marks", "rows", "export", "not-duplicates"):
        assert post(page, f"/api/0/{address}", body).status in (400, 404)


def test_other_marks_and_numbers_are_refused(page):
    assert post(page, "/api/0/marks", {"rows": [0], "mark": "<b>"}).status == 400
    for k in ("0", "101", "x", "-1"):
        assert ask(page, f"/api/0/neighbours/0?k={k}").status == 400
    assert ask(page, "/api/0/find?text=nothing-like-that").status == 400
    assert ask(page, "/api/0/find?text=width%3E%3Dx").status == 400


def listed(page, address):
    """What a list is answered once it is there."""
    end = time.monotonic() + 60
    while (answer := ask(page, address)).status == 202:
        assert time.monotonic() < end
        time.sleep(0.05)
    return answer


@pytest.mark.parametrize(
    ("kind", "fields", "options"),
    [
        ("duplicates", "near=0.9", ("--near", "0.9")),
        ("outliers", "n=3&k=4", ("-n", "3", "-k", "4")),
        ("quality", "", ()),
        ("suspects", "", ()),
        ("clusters", "k=3", ("-k", "3")),
        ("select", "n=4&labelled=", ("-n", "4")),
        ("label", "", ()),
    ],
)
def test_a_list_of_the_page_is_exported_as_its_command_writes_it(page, shop, tmp_path, kind, fields, options):  # noqa: F811
    assert ask(page, f"/api/1/findings/{kind}/csv").status == 404
    found = listed(page, f"/api/1/findings/{kind}?{fields}")
    assert found.status == 200, found.body
    assert set(found.json()) == {"groups", "rows", "notes", "columns"}
    ended = viewkin(kind, shop / "two.collection", *options, "--out", tmp_path / "list.csv")
    assert ended.code == 0, ended.err
    assert ask(page, f"/api/1/findings/{kind}/csv").body == (tmp_path / "list.csv").read_bytes()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("select?n=x", "n is 'x'; it must be a whole number."),
        ("select?n=99999", "-n is 99999"),
        ("select?method=best", "--method is 'best'"),
        ("select?labelled=nothing", "There is no column nothing."),
        ("label?labels=mark&confidence=2", "--least-confidence is 2.0"),
        ("suspects?labels=split", "There is no column split."),
        ("clusters?k=0", "-k is 0"),
        ("clusters?k=nan", "k is 'nan'"),
        ("duplicates?near=nan", "--near is nan"),
        ("quality?only=ugly", "--only is 'ugly'"),
    ],
)
def test_fields_that_do_not_fit_are_told_in_a_sentence(page, address, why):
    told = listed(page, f"/api/1/findings/{address}").json()
    assert why in told["error"]
    assert "Error" not in told["error"]


def test_other_lists_and_fields_are_refused(page):
    assert (
        ask(page, "/api/0/findings/outliers?out=/tmp/x.csv").json()["error"].startswith("out is no field of outliers")
    )
    for body in ({}, {"draw": 1}, [], "x"):
        assert post(page, "/api/0/map", body).status == 400
    assert post(page, "/api/0/findings/nothing/stop", {}).status == 404
    assert post(page, "/api/0/findings/outliers/stop", {}).status == 200


def test_a_token_is_asked_for_where_others_reach_the_page(shop):  # noqa: F811
    with served(shop / "one.collection", host="127.0.0.1", token=True) as page:
        token = page.address.partition("token=")[2]
        assert ask(page, "/").status == 401
        assert ask(page, "/?token=wrong").status == 401
        assert ask(page, "/api/collections").status == 401
        welcomed = ask(page, f"/?token={token}")
        assert (welcomed.status, welcomed.headers["location"]) == (303, "/")
        cookie = welcomed.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert ask(page, "/", Cookie=cookie.partition(";")[0]).status == 200


def test_what_cannot_be_served_is_said_in_one_sentence(shop, page, tmp_path):  # noqa: F811
    one = shop / "one.collection"
    port = page.address.rstrip("/").rpartition(":")[2]
    columns = tmp_path / "columns.csv"
    columns.write_text("key,x\nnothing.jpg,1\n")
    cases = {
        ("--host", "0.0.0.0"): "add --open-to-network",
        ("--port", port): f"cannot be served at port {port}",
        ("--port", "70000"): "it must be 0 to 65535",
        ("--map", "cube"): "auto, tsne, umap, pca",
        ("--columns", columns): "names no image of",
        ("--columns", tmp_path / "none.csv"): "cannot be read as CSV or Parquet",
        ("--model", tmp_path / "none"): "none",
    }
    for options, why in cases.items():
        ended = viewkin("explore", one, *options, "--no-browser")
        assert ended.code == 2
        assert why in ended.err
        assert len(ended.err.splitlines()) == 1
    assert "is no collection" in viewkin("explore", tmp_path, "--no-browser").err


def test_a_missing_package_is_named(shop, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ended = viewkin("explore", shop / "one.collection", "--no-browser")
    assert ended.code == 2
    assert "The page needs uvicorn: pip install 'viewkin[explore]'" in ended.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_quietly_also_while_it_answers(shop, tmp_path, number, code):  # noqa: F811
    log = tmp_path / "log"
    command = [sys.executable, "-m", "viewkin", "explore", str(shop / "one.collection"), "--no-browser", "--port", "0"]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        end = time.monotonic() + 60
        while "Ctrl-C" not in log.read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
        address = re.search(r"127\.0\.0\.1:\d+", log.read_text())[0]
        ended = Event()
        asking = Thread(target=ask_again_and_again, args=(address, ended))
        asking.start()
        time.sleep(0.5)
        process.send_signal(number)
        try:
            assert process.wait(30) == code
        finally:
            ended.set()
            asking.join()
            process.kill()
    assert "Traceback" not in log.read_text()
    assert log.read_text().splitlines()[-1] == ("Stopped." if code == 0 else "error: Interrupted.")


def ask_again_and_again(address, ended):
    while not ended.is_set():
        connection = http.client.HTTPConnection(address, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/api/0/neighbours/0")
            connection.getresponse().read()


def test_a_map_is_kept_and_made_anew_for_other_rows(shop, tmp_path):  # noqa: F811
    place = shutil.copytree(shop / "one.collection", tmp_path / "one.collection")
    shutil.rmtree(place / "explore", ignore_errors=True)
    with served(place) as page:
        assert page.collections[0].map.job.wait(60)
        first = ask(page, "/api/0/map")
        assert (first.headers["x-ready"], len(first.body)) == ("yes", ROWS * 8)
    (kept,) = (place / "explore").iterdir()
    stamp = kept.stat().st_mtime_ns
    with served(place) as page:
        assert page.collections[0].map.job.wait(60)
        assert ask(page, "/api/0/map").body == first.body
    assert kept.stat().st_mtime_ns == stamp
    kept.write_bytes(kept.read_bytes()[:100])  # a damaged one is drawn again
    with served(place) as page:
        assert page.collections[0].map.job.wait(60)
        assert ask(page, "/api/0/map").body == first.body
