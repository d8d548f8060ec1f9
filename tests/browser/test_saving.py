"""Nothing is lost: a server that is killed, pages that are reloaded or closed, and two tabs that disagree."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_evalloop.records import Trace
from tests.browser.conftest import Desk, Tabs, plain
from tests.browser.test_labelling import at, press, saved

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import expect

Open = Callable[[Sequence[Trace]], "Page"]


def come_back(page: Page) -> None:
    """Turn to a tab, as its window would say."""
    page.bring_to_front()
    page.evaluate("window.dispatchEvent(new Event('focus'))")


def test_a_server_that_is_killed_midway_costs_nothing(desk: Desk, opened: Open) -> None:
    page = opened(plain(8))
    press(page, "1")
    at(page, "t-001")
    saved(page)
    desk.kill()
    press(page, "1")
    at(page, "t-002")  # it was fetched ahead
    press(page, "2")
    page.keyboard.type("while nobody listens")
    press(page, "Enter")
    at(page, "t-003")
    banner = page.locator("#banner")
    expect(banner).to_contain_text("The server does not answer")
    expect(banner).to_contain_text("2 changes are kept in this browser")
    expect(page.locator("#saved")).to_have_text("2 changes not saved")
    expect(page.locator("#done")).to_have_text("3 of 8 judged")
    assert list(desk.labels()) == ["t-000"]

    desk.start()
    saved(page)
    expect(banner).to_be_hidden()
    found = desk.labels()
    assert [(each.trace, each.passed, each.note) for each in found.values()] == [
        ("t-000", True, ""),
        ("t-001", True, ""),
        ("t-002", False, "while nobody listens"),
    ]
    press(page, "1")  # with the new server's token
    at(page, "t-004")
    saved(page)
    page.reload()
    at(page, "t-004")
    expect(page.locator("#done")).to_have_text("4 of 8 judged")
    assert desk.labels()["t-003"].passed is True


def test_what_a_closed_tab_could_not_save_is_saved_by_the_next_one(desk: Desk, tabs: Tabs) -> None:
    desk.add(*plain(3))
    desk.start()
    page = tabs.open()
    at(page, "t-000")
    desk.kill()
    press(page, "2")
    page.keyboard.type("typed, and then the lights went out")
    expect(page.locator("#saved")).to_have_text("1 change not saved")
    page.close()
    desk.start()
    page = tabs.open()
    saved(page)
    press(page, "g")
    page.keyboard.type("t-000")
    press(page, "Enter")
    expect(page.locator("#note")).to_have_value("typed, and then the lights went out")
    label = desk.labels()["t-000"]
    assert (label.passed, label.note) == (False, "typed, and then the lights went out")


def test_an_answer_that_was_lost_after_the_label_was_written_is_no_conflict(desk: Desk, opened: Open) -> None:
    page = opened(plain(3))
    at(page, "t-000")

    def written_but_not_told(route: object) -> None:
        route.fetch()  # type: ignore[attr-defined]
        route.abort()  # type: ignore[attr-defined]

    page.route("**/api/label", written_but_not_told, times=1)
    press(page, "2")
    page.keyboard.type("and on")
    press(page, "Enter")
    at(page, "t-001")
    saved(page)
    expect(page.locator("#conflict")).to_be_hidden()
    label = desk.labels()["t-000"]
    assert (label.passed, label.note, label.revision) == (False, "and on", 2)


def test_a_note_is_saved_in_a_pause_and_survives_a_reload_before_it(desk: Desk, opened: Open) -> None:
    page = opened(plain(2))
    at(page, "t-000")
    press(page, "n")
    page.keyboard.type("first")
    saved(page)  # nobody left the field
    assert desk.labels()["t-000"].note == "first"
    page.keyboard.type(" and second")
    page.reload()
    at(page, "t-000")
    saved(page)
    expect(page.locator("#note")).to_have_value("first and second")
    assert desk.labels()["t-000"].note == "first and second"


@pytest.mark.parametrize(
    ("choice", "passed", "note"),
    [
        ("Keep what is saved", True, "theirs"),
        ("Mine, with both notes", False, "theirs\nmine too"),
    ],
)
def test_two_tabs_that_disagree_are_shown_both_versions(
    desk: Desk, tabs: Tabs, choice: str, passed: bool, note: str
) -> None:
    desk.add(*plain(3))
    desk.start()
    one, other = tabs.open(), tabs.open()
    at(other, "t-000")
    come_back(one)
    press(one, "n")
    one.keyboard.type("theirs")
    press(one, "Escape", "1")
    at(one, "t-001")
    saved(one)

    # The other tab is not told: its news are held up on the way.
    other.route("**/api/news*", lambda route: route.abort())
    other.bring_to_front()
    press(other, "2")
    expect(other.locator("#saved")).to_have_text("Not saved")
    press(other, "Control+a")
    other.keyboard.type("mine too")  # nobody is interrupted, and a space is no answer
    expect(other.locator("#note")).to_have_value("mine too")
    expect(other.locator("#banner")).to_contain_text("t-000")
    dialog = other.get_by_role("dialog", name="This label was changed meanwhile")
    expect(dialog).to_be_hidden()
    press(other, "Escape")
    expect(dialog).to_be_visible()
    press(other, "Space", "Enter", "1")  # neither is a key that was meant for something else
    expect(other.locator("#theirs")).to_contain_text("theirs")
    expect(other.locator("#theirs")).to_contain_text("pass")
    expect(other.locator("#mine")).to_contain_text("fail")
    assert desk.labels()["t-000"].passed is True  # nothing was guessed
    press(other, "Escape")  # not now
    expect(dialog).to_be_hidden()
    other.unroute("**/api/news*")
    other.get_by_role("button", name="Decide").click()
    expect(other.locator("#mine")).to_contain_text("mine too")
    dialog.get_by_role("button", name=choice).click()
    saved(other)
    expect(other.locator("#note")).to_have_value(note)
    label = desk.labels()["t-000"]
    assert (label.passed, label.note) == (passed, note)

    come_back(one)
    press(one, "ArrowLeft")
    at(one, "t-000")
    expect(one.locator("#note")).to_have_value(note)
    pressed = one.locator(".verdict[aria-pressed=true]")
    expect(pressed).to_have_text(re.compile("Pass" if passed else "Fail"))


def test_what_another_tab_did_is_seen_when_one_turns_to_this_one(desk: Desk, tabs: Tabs) -> None:
    desk.add(*plain(3))
    desk.start()
    one, other = tabs.open(), tabs.open()
    at(one, "t-000")
    at(other, "t-000")
    press(other, "1")
    at(other, "t-001")
    press(other, "m")
    other.keyboard.type("a new mode")
    press(other, "Enter")
    expect(other.locator(".modes .mode")).to_have_count(1)
    come_back(one)
    expect(one.locator(".verdict.pass")).to_have_attribute("aria-pressed", "true")
    expect(one.locator(".modes .mode")).to_have_text(re.compile("a new mode"))
    expect(one.locator("#done")).to_have_text("1 of 3 judged")
    press(one, "2")  # on top of what the other said
    saved(one)
    expect(one.locator("#conflict")).to_be_hidden()
    assert desk.labels()["t-000"].passed is False


def test_a_server_with_other_traces_is_read_anew(desk: Desk, opened: Open) -> None:
    page = opened(plain(3))
    at(page, "t-000")
    desk.kill()
    desk.add(*plain(2), first="u-000")
    come_back(page)
    expect(page.locator("#saved")).to_have_text("Server lost")
    desk.start()
    expect(page.locator("#position")).to_have_text("1 of 5")
    saved(page)


def test_a_second_page_on_the_same_labels_is_refused_with_the_process(desk: Desk) -> None:
    desk.add(*plain(1))
    desk.start()
    assert desk.process is not None
    second = Desk(desk.root)
    with pytest.raises(AssertionError, match=rf"written by process {desk.process.pid}"):
        second.start()
    second.kill()
    taken = Desk(desk.root, port=desk.port)
    with pytest.raises(AssertionError, match=rf"Port {desk.port} of 127.0.0.1 cannot be used"):
        taken.start()
    taken.kill()
