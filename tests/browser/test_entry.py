"""Everybody on a machine reaches its loopback: the page opens with its address alone, and stays open from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Desk, Tabs, plain
from tests.browser.test_guard import ask
from tests.browser.test_labelling import at, press, saved

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import expect


def come_back(page: Page) -> None:
    page.bring_to_front()
    page.evaluate("window.dispatchEvent(new Event('focus'))")


@pytest.fixture
def reading(desk: Desk) -> Desk:
    desk.add(*plain(3))
    desk.start()
    return desk


@pytest.mark.parametrize("cookie", ["", "{name}=", "{name}={short}", "other={secret}", "{name}=x; a=b"])
@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=x", "/api/index", "/api/token", "/static/review.js"]
)
def test_without_token_and_cookie_nothing_is_answered(reading: Desk, cookie: str, path: str) -> None:
    name, _, secret = reading.cookie.partition("=")
    given = cookie.format(name=name, secret=secret, short=secret[:-1])
    status, headers, text = ask(reading, "GET", path, cookie=given)
    assert (status, "Question" in text, "set-cookie" in headers) == (401, False, False)
    assert "pytest-evalloop review printed" in text
    status, _, _ = ask(reading, "POST", "/api/undo", {}, cookie=given, content_type="application/json")
    assert status == 401


def test_the_address_hands_a_strict_cookie_out_and_other_sites_get_none(reading: Desk) -> None:
    path = f"/?token={reading.token}"
    status, headers, text = ask(reading, "GET", path, cookie="")
    assert status == 200
    assert headers["set-cookie"] == f"{reading.cookie}; Path=/; HttpOnly; SameSite=Strict"
    assert reading.token not in text
    fetched = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}
    status, headers, _ = ask(reading, "GET", path, cookie="", **fetched)
    assert (status, "set-cookie" in headers) == (403, False)
    status, headers, _ = ask(reading, "GET", path, cookie="", host="evil.example")
    assert (status, "set-cookie" in headers) == (421, False)
    for method, twice in (("POST", path), ("GET", f"{path}&token=x"), ("GET", f"/api/index{path[1:]}")):
        assert ask(reading, method, twice, cookie="")[0] == 401


def test_the_page_has_no_secret_in_its_address_and_scripts_cannot_read_the_cookie(
    reading: Desk, tabs: Tabs
) -> None:
    page = tabs.open()
    at(page, "t-000")
    assert page.url == f"http://127.0.0.1:{reading.port}/"
    assert page.evaluate("document.cookie") == ""
    [cookie] = tabs.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.reload()
    at(page, "t-000")


def test_a_link_on_another_site_opens_the_page(reading: Desk, tabs: Tabs) -> None:
    page = tabs.context.new_page()
    link = f"<a href={reading.address}>go</a>"
    page.route("http://site.example/", lambda route: route.fulfill(body=link, content_type="text/html"))
    page.goto("http://site.example/")
    page.click("a")
    page.wait_for_selector("html[data-ready]")
    at(page, "t-000")
    tabs.asked.remove("http://site.example/")


def test_another_browser_of_the_same_machine_sees_nothing(reading: Desk, tabs: Tabs) -> None:
    page = tabs.context.new_page()
    page.goto(f"http://127.0.0.1:{reading.port}/")
    expect(page.locator("body")).to_have_text(
        "This browser was not let in. Open the address that pytest-evalloop review printed: it ends in a token."
    )


def test_two_tabs_go_on_when_the_command_is_started_again(reading: Desk, tabs: Tabs) -> None:
    one, other = tabs.open(), tabs.open()
    at(other, "t-000")
    at(one, "t-000")
    first = reading.token
    reading.kill()
    come_back(one)
    press(one, "1")
    expect(one.locator("#banner")).to_contain_text("The server does not answer")
    reading.start()
    assert reading.token != first
    saved(one)
    come_back(other)
    press(other, "ArrowRight")
    at(other, "t-001")
    press(other, "1")
    at(other, "t-002")
    saved(other)
    assert list(reading.labels()) == ["t-000", "t-001"]
    assert ask(reading, "GET", f"/?token={first}", cookie="")[0] == 401


def test_a_tab_that_is_shut_out_keeps_its_labels_until_the_new_address_is_opened(
    reading: Desk, tabs: Tabs
) -> None:
    page = tabs.open()
    at(page, "t-000")
    reading.kill()
    (reading.root / ".evalloop/review-key").unlink()
    reading.start()
    press(page, "1")
    expect(page.locator("#banner")).to_contain_text("This browser was not let in")
    expect(page.locator("#saved")).to_have_text("1 change not saved")
    assert reading.labels() == {}
    tabs.open()
    come_back(page)
    saved(page)
    assert list(reading.labels()) == ["t-000"]
