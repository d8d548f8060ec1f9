"""Traces that are recorded while somebody reads: they are offered, and come in when the reader wants them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_evalloop.records import Trace
from tests.browser.conftest import Desk, Tabs, plain
from tests.browser.test_labelling import at, press, saved
from tests.browser.test_saving import come_back

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import expect

Open = Callable[[Sequence[Trace]], "Page"]


def test_new_traces_are_offered_and_the_reader_stays_where_he_is(desk: Desk, opened: Open) -> None:
    page = opened(plain(3))
    press(page, "1")
    at(page, "t-001")
    press(page, "2")
    page.keyboard.type("half a note")
    saved(page)
    desk.add(*plain(3), first="u-100")
    expect(page.locator("#fresh")).to_be_hidden()
    come_back(page)
    expect(page.locator("#fresh")).to_have_text("3 new traces +")
    expect(page.locator("#position")).to_have_text("2 of 3")  # nothing moves by itself
    page.keyboard.type("+")  # which is a letter as long as somebody types
    expect(page.locator("#note")).to_have_value("half a note+")
    press(page, "Escape", "+")
    expect(page.locator("#fresh")).to_be_hidden()
    expect(page.locator("#position")).to_have_text("2 of 6")
    expect(page.locator("#done")).to_have_text("2 of 6 judged")
    at(page, "t-001")
    press(page, ".")
    for trace in ("t-002", "u-100"):
        at(page, trace)  # nothing is said of a trace that is not in view
        press(page, "1")
    at(page, "u-101")
    saved(page)
    assert list(desk.labels()) == ["t-000", "t-001", "t-002", "u-100"]
    come_back(page)
    expect(page.locator("#fresh")).to_be_hidden()


def test_each_tab_is_told_and_asks_for_itself(desk: Desk, tabs: Tabs) -> None:
    desk.add(*plain(2))
    desk.start()
    one, other = tabs.open(), tabs.open()
    desk.add(*plain(1), first="u-100")
    come_back(one)
    expect(one.locator("#fresh")).to_have_text("1 new trace +")
    one.locator("#fresh").click()
    expect(one.locator("#position")).to_have_text("1 of 3")
    press(one, "g")
    one.keyboard.type("u-100")
    press(one, "Enter")
    at(one, "u-100")
    press(one, "1")
    saved(one)
    come_back(other)
    expect(other.locator("#position")).to_have_text("1 of 2")
    expect(other.locator("#fresh")).to_have_text("1 new trace +")
    press(other, "o", "+")
    expect(other.locator("#view-overview .figure").first).to_contain_text("1 of 3")


def test_the_first_traces_are_shown_at_once(desk: Desk, tabs: Tabs) -> None:
    desk.start()
    page = tabs.open()
    expect(page.locator("#trace")).to_contain_text("There is nothing to read yet")
    desk.add(*plain(2))
    come_back(page)
    at(page, "t-000")
    expect(page.locator("#position")).to_have_text("1 of 2")
