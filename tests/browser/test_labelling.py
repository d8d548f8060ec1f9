"""A person labels by keyboard: verdicts, notes, modes, undo, filters and the overview, up to what is on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_evalloop.records import Trace
from pytest_evalloop.review.modes import Mode, read_modes, write_modes
from tests.browser.conftest import Desk, Tabs, plain

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import expect

Open = Callable[[Sequence[Trace]], "Page"]
MODES = (Mode("FM-01", "cites nothing"), Mode("FM-02", "wrong party", "It names somebody else."))


def at(page: Page, trace: str) -> None:
    """The trace is in view, contents and all."""
    expect(page.locator("#trace")).to_have_attribute("data-id", trace)


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def saved(page: Page) -> None:
    expect(page.locator("#saved")).to_have_text("Saved")


def test_a_whole_session_by_keyboard(desk: Desk, opened: Open) -> None:
    page = opened(plain(8))
    at(page, "t-000")
    expect(page.locator("#position")).to_have_text("1 of 8")
    expect(page.locator("#trace")).to_contain_text("Answer 0")
    press(page, "1")
    at(page, "t-001")
    press(page, "2")
    expect(page.locator("#note")).to_be_focused()
    page.keyboard.type("names 1 party too many")  # the digit is no verdict, and neither is the n
    press(page, "Enter")
    at(page, "t-002")
    expect(page.locator("#note")).to_have_value("")
    press(page, "d")
    at(page, "t-003")
    press(page, "ArrowRight", "j", "k")
    at(page, "t-004")
    press(page, "n")
    page.keyboard.type("first line")
    press(page, "Shift+Enter")
    page.keyboard.type("second")
    press(page, "Escape", "2")
    expect(page.locator("#note")).not_to_be_focused()  # there is a note already
    press(page, "Enter")
    at(page, "t-005")
    press(page, ".", "1")
    at(page, "t-007")
    press(page, ".")
    at(page, "t-003")
    expect(page.locator("#done")).to_have_text("4 of 8 judged")
    saved(page)

    found = desk.labels()
    assert {trace: label.passed for trace, label in found.items()} == {
        "t-000": True,
        "t-001": False,
        "t-002": None,
        "t-004": False,
        "t-006": True,
    }
    assert found["t-001"].note == "names 1 party too many"
    assert found["t-002"].deferred
    assert found["t-004"].note == "first line\nsecond"
    assert {label.by for label in found.values()} == {"Ada"}

    page.reload()
    at(page, "t-003")
    press(page, "ArrowLeft", "ArrowLeft")
    at(page, "t-001")
    expect(page.locator("#note")).to_have_value("names 1 party too many")
    expect(page.locator(".verdict.fail")).to_have_attribute("aria-pressed", "true")
    assert desk.labels() == found


def test_undo_takes_back_one_action_after_the_other_and_goes_there(desk: Desk, opened: Open) -> None:
    page = opened(plain(4))
    press(page, "1")
    at(page, "t-001")
    press(page, "2")
    page.keyboard.insert_text("odd")
    press(page, "Enter")
    at(page, "t-002")
    press(page, "1")
    at(page, "t-003")
    press(page, "u")
    at(page, "t-002")
    expect(page.locator("#hint")).to_have_text("Taken back, in t-002.")
    expect(page.locator(".verdict[aria-pressed=true]")).to_have_count(0)
    press(page, "u")
    at(page, "t-001")
    expect(page.locator("#note")).to_have_value("")
    press(page, "u")
    expect(page.locator(".verdict[aria-pressed=true]")).to_have_count(0)
    press(page, "u")
    at(page, "t-000")
    press(page, "u")
    expect(page.locator("#hint")).to_have_text("There is nothing to undo.")
    assert desk.labels() == {}
    press(page, "2")
    page.keyboard.type("after all")
    press(page, "Enter")
    at(page, "t-001")
    saved(page)
    assert (desk.labels()["t-000"].passed, desk.labels()["t-000"].note) == (False, "after all")


def test_failure_modes_come_after_reading_and_then_have_keys(desk: Desk, opened: Open) -> None:
    page = opened(plain(40))
    expect(page.locator("#modes")).to_contain_text("Failure modes come later")
    for number in range(30):
        at(page, f"t-{number:03d}")
        press(page, "1")
    expect(page.locator("#modes")).to_contain_text("You have read 30 traces")
    press(page, "m")
    expect(page.locator("#naming")).to_be_visible()
    page.keyboard.type("cites <b>nothing</b>")
    press(page, "Tab")
    page.keyboard.type("No source is named.")
    page.click("#this-trace")
    page.click("#naming button[type=submit]")
    expect(page.locator("#naming")).to_be_hidden()
    press(page, "m")
    page.keyboard.type("wrong party")
    press(page, "Enter")
    expect(page.locator(".modes .mode")).to_have_count(2)
    expect(page.locator(".modes .mode").first).to_contain_text("cites <b>nothing</b>")
    assert [mode.id for mode in read_modes(desk.labels_folder)] == ["FM-01", "FM-02"]
    assert read_modes(desk.labels_folder)[0].examples == ("t-030",)

    at(page, "t-030")
    press(page, "4")  # it occurs, so the trace fails
    expect(page.locator(".verdict.fail")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-mode='FM-02']")).to_have_attribute("data-said", "1")
    press(page, "0")  # the other does not
    at(page, "t-031")
    press(page, "1")
    at(page, "t-032")
    press(page, "3", "3")
    expect(page.locator("[data-mode='FM-01']")).to_have_attribute("data-said", "0")
    page.locator("[data-mode='FM-02']").click()
    expect(page.locator("[data-mode='FM-02']")).to_have_attribute("data-said", "1")
    saved(page)
    found = desk.labels()
    assert (found["t-030"].passed, found["t-030"].modes) == (False, {"FM-01": False, "FM-02": True})
    assert (found["t-031"].passed, found["t-031"].modes) == (True, {"FM-01": False, "FM-02": False})
    assert (found["t-032"].passed, found["t-032"].modes) == (False, {"FM-01": False, "FM-02": True})
    assert found["t-029"].modes == {}  # nothing is said of modes that had no name then


def test_a_mode_is_edited_marked_as_reviewed_and_removed_while_nothing_speaks_of_it(
    desk: Desk, opened: Open
) -> None:
    write_modes(desk.labels_folder, MODES)
    page = opened(plain(3))
    press(page, "3", "o")
    page.get_by_role("button", name="Edit FM-02").click()
    page.locator("#naming [name=title]").fill("wrong party named")
    page.locator("#naming [name=today]").check()
    page.click("#naming button[type=submit]")
    expect(page.locator("#view-overview")).to_contain_text("wrong party named")
    edited = read_modes(desk.labels_folder)[1]
    assert (edited.title, edited.definition) == ("wrong party named", "It names somebody else.")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", edited.reviewed)
    page.get_by_role("button", name="Edit FM-01").click()
    page.click("#remove-mode")
    expect(page.locator("#naming-error")).to_contain_text("FM-01 stands in 1 label (t-000)")
    page.click("#naming-cancel")
    page.get_by_role("button", name="Edit FM-02").click()
    page.click("#remove-mode")
    expect(page.locator("#view-overview tbody tr")).to_have_count(1)
    assert [mode.id for mode in read_modes(desk.labels_folder)] == ["FM-01"]


def test_a_mode_that_was_edited_elsewhere_is_shown_and_not_overwritten(desk: Desk, opened: Open) -> None:
    write_modes(desk.labels_folder, MODES)
    page = opened(plain(1))
    press(page, "o")
    page.get_by_role("button", name="Edit FM-01").click()
    write_modes(desk.labels_folder, (Mode("FM-01", "edited by hand"), MODES[1]))
    page.locator("#naming [name=title]").fill("mine")
    page.click("#naming button[type=submit]")
    expect(page.locator("#naming-error")).to_contain_text("was changed meanwhile")
    page.get_by_role("button", name="Show what is saved").click()
    expect(page.locator("#naming [name=title]")).to_have_value("edited by hand")
    page.locator("#naming [name=title]").fill("both")
    page.click("#naming button[type=submit]")
    expect(page.locator("#naming")).to_be_hidden()
    assert read_modes(desk.labels_folder)[0].title == "both"


def test_a_filter_narrows_the_list_which_then_stays_while_one_labels(opened: Open) -> None:
    page = opened([*plain(6), Trace("a needle", "in hay", ({"tool": "look", "result": "Straßenkarte"},))])
    press(page, "1")
    at(page, "t-001")
    press(page, "/")
    page.locator("[name=verdict]").select_option("none")
    expect(page.locator("#found")).to_have_text("6 traces of 7")
    press(page, "Escape")
    expect(page.locator("#position")).to_have_text("1 of 6")
    press(page, "1")
    at(page, "t-002")
    expect(page.locator("#position")).to_have_text("2 of 6")
    press(page, "/")
    page.locator("[name=fact]").select_option("model")
    page.locator("[name=value]").select_option("a")
    expect(page.locator("#found")).to_have_text("2 traces of 7")
    page.click("#filters button[type=reset]")
    expect(page.locator("#found")).to_have_text("7 traces of 7")
    page.locator("[name=text]").fill("STRASSENKARTE")
    expect(page.locator("#found")).to_have_text("1 trace of 7")
    at(page, "t-006")
    page.locator("[name=text]").fill("nowhere")
    expect(page.locator("#trace")).to_have_text("No trace passes this filter.")
    press(page, "Escape", "1", "2", "d")  # nothing is in view, so nothing is said
    page.reload()
    expect(page.locator("#trace")).to_have_text("No trace passes this filter.")
    expect(page.locator("#done")).to_have_text("2 of 7 judged")


def test_jumping_goes_to_positions_ids_and_words(opened: Open) -> None:
    page = opened([*plain(20), Trace("Ein Wort über Flüsse", "…")])
    for typed, trace in (("12", "t-011"), ("t-003", "t-003"), ("FLÜSSE", "t-020"), ("019", "t-019")):
        press(page, "g")
        page.keyboard.type(typed)
        press(page, "Enter")
        at(page, trace)
    press(page, "g")
    page.keyboard.type("nothing like it")
    expect(page.locator("#jump-found")).to_have_text("No such trace.")
    press(page, "Escape")
    at(page, "t-019")


def test_notes_and_overview_show_what_was_found(desk: Desk, opened: Open) -> None:
    write_modes(desk.labels_folder, MODES)
    page = opened(plain(5))
    press(page, "2")
    page.keyboard.type("no source")
    press(page, "Enter")
    at(page, "t-001")
    press(page, "2")
    page.keyboard.type("Jane is not in it")
    press(page, "Escape", "4", "Enter", "1", "l")
    sheet = page.locator("#view-notes")
    expect(sheet.locator("li")).to_have_count(2)
    sheet.locator("[data-id='t-000'] [data-mode='FM-01']").click()  # grouped here, at once
    expect(sheet.locator("h3").first).to_contain_text("FM-01")
    sheet.get_by_role("button", name="Jane is not in it").click()
    at(page, "t-001")
    press(page, "o")
    sheet = page.locator("#view-overview")
    expect(sheet.locator(".figure").first).to_contain_text("3 of 5")
    expect(sheet.locator(".figure").nth(1)).to_contain_text("2 of 3 judged")
    expect(sheet.locator("tbody tr").first).to_contain_text("1 of 2")
    expect(sheet.locator("svg.curve")).to_have_attribute(
        "aria-label", "Failure modes found: 2 after 3 traces"
    )
    expect(sheet.locator(".sentence")).not_to_be_empty()
    sheet.get_by_role("button", name="1 of 2").first.click()
    at(page, "t-000")
    expect(page.locator("#position")).to_have_text("1 of 1")
    saved(page)
    assert desk.labels()["t-000"].modes == {"FM-01": True}


def test_a_key_that_is_held_labels_once_and_keys_with_ctrl_are_the_browsers(desk: Desk, opened: Open) -> None:
    page = opened(plain(9))
    page.keyboard.down("1")
    page.keyboard.down("1")
    page.keyboard.down("1")
    page.keyboard.up("1")
    at(page, "t-001")
    press(page, "Control+1", "Alt+2", "Meta+d")
    page.keyboard.down("ArrowRight")
    page.keyboard.down("ArrowRight")
    page.keyboard.up("ArrowRight")
    at(page, "t-003")
    saved(page)
    assert list(desk.labels()) == ["t-000"]


def test_everything_is_reached_without_a_mouse_and_told_to_a_screen_reader(opened: Open) -> None:
    page = opened(
        [Trace("q", "a", ({"role": "system", "content": "Be brief."}, {"tool": "look", "result": "x"}))]
    )
    names = page.locator("button:visible, textarea:visible, summary:visible")
    for each in names.all():
        assert each.evaluate("node => node.tabIndex >= 0")
        assert each.evaluate(
            "node => (node.ariaLabel || node.innerText || node.labels?.[0]?.innerText || '').trim()"
        )
    expect(page.get_by_role("button", name="Pass 1")).to_be_visible()
    press(page, "?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    press(page, "Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.locator("details[open]").count() == 0
    press(page, "s")
    expect(page.locator("details[open]")).to_have_count(2)
    expect(page.locator("#trace")).to_contain_text("Be brief.")


def test_a_narrow_window_shows_all_without_scrolling_sideways(desk: Desk, opened: Open) -> None:
    write_modes(desk.labels_folder, MODES)
    page = opened([Trace("q" * 3000, '{"a": "' + "b" * 3000 + '"}', metadata={"k" * 50: "v" * 100})])
    at(page, "t-000")
    for width in (360, 700, 1000):
        page.set_viewport_size({"width": width, "height": 720})
        for key in ("2", "Escape", "l", "o", "o"):
            press(page, key)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (width, key)


def test_nothing_to_read_is_said(desk: Desk, tabs: Tabs) -> None:
    desk.start()
    expect(tabs.open().locator("#trace")).to_contain_text("There is nothing to read yet")
