import re

from viewkin.collection.matches import Match, Matches
from viewkin.figures.match_page import fragment, match_page

EVIL = '<script>alert("x")</script>&\x1b[31m.jpg'


def matches(name: str = EVIL) -> Matches:
    row = {"path": f"/photos/{name}", "split": "train", "label": 0, "class_name": name, "width": 20, "height": 10}
    return Matches([Match(query=name, rank=1, similarity=0.9, key=name, **row)], ["Index <built>."])


def page(**more) -> str:
    return match_page("my.collection", matches(**more), lambda match: "data:image/jpeg;base64,AA", lambda name: None)


def test_names_are_escaped_everywhere():
    text = page()
    assert "<script" not in text
    assert "\x1b" not in text
    assert text.count("&lt;script&gt;") >= 4  # heading, class, caption, title
    assert "Index &lt;built&gt;." in text


def test_it_needs_nothing_but_itself():
    text = page(name="a.jpg")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "/photos/a.jpg" in text
    assert "0.900" in text


def test_an_image_that_is_gone_is_said():
    assert "no picture" in match_page("c", matches("a.jpg"), lambda match: None, lambda name: None)


def test_a_part_for_a_notebook_has_no_page_around_it():
    part = fragment(matches(), lambda match: None, lambda name: "data:image/jpeg;base64,AA")
    assert "<html" not in part
    assert "<script" not in part
    assert "<b>query</b>" in part
