"""Claims about which requests are answered."""

import pytest

from viewkin.explorer.security import Access, hosts_of, refusal

HERE = Access(hosts_of("127.0.0.1", 8470))


def refused(method="GET", path="/api/collections", access=HERE, **headers):
    given = {"host": "127.0.0.1:8470", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return refusal(method, path, given, access) is not None


def test_the_page_itself_is_answered():
    assert not refused()
    assert not refused(host="localhost:8470", origin="http://localhost:8470", method="POST")
    assert not refused(sec_fetch_site="same-origin")
    assert not refused(sec_fetch_site="none")


@pytest.mark.parametrize(
    "host", ["", "evil.example:8470", "127.0.0.1", "127.0.0.1:8471", "127.0.0.1:8470.evil.example"]
)
def test_another_host_is_refused(host):
    assert refused(host=host)


@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.example", "https://127.0.0.1:8470", "http://127.0.0.1:8471", "http://localhost:8470", ""],
)
def test_another_origin_is_refused(origin):
    assert refused(origin=origin)
    assert refused(origin=origin, method="POST")


def test_a_change_without_an_origin_is_refused():
    assert refused(method="POST")
    assert refused(method="DELETE")


def test_another_page_may_link_here_and_nothing_else():
    assert not refused(path="/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")
    assert refused(path="/", sec_fetch_site="cross-site", sec_fetch_mode="no-cors")
    assert refused(path="/api/0/map", sec_fetch_site="same-site", sec_fetch_mode="navigate")


def test_hosts_are_written_as_browsers_write_them():
    assert hosts_of("::1", 8470) == hosts_of("127.0.0.1", 8470) == {"127.0.0.1:8470", "localhost:8470", "[::1]:8470"}
    assert hosts_of("192.168.0.7", 9000) == {"192.168.0.7:9000"}
    assert hosts_of("127.0.0.1", 80) >= {"127.0.0.1", "localhost:80"}
    assert hosts_of("0.0.0.0", 9000) == set()
