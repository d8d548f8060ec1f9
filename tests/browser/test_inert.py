"""What a trace says stays text: nothing of it runs, is fetched, hides, or makes the page slow."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_evalloop.review
from pytest_evalloop.records import Trace
from pytest_evalloop.review.modes import Mode, write_modes
from tests.browser.conftest import Desk, Tabs, plain
from tests.browser.test_labelling import at, press, saved

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import expect

Open = Callable[[Sequence[Trace]], "Page"]
EVIL = (
    "<script>alert(1)</script>"
    "<img src=x onerror=alert(2)><svg onload=alert(3)></svg>"
    "<iframe srcdoc='<script>parent.alert(4)</script>'></iframe>"
    "<link rel=stylesheet href=http://evil.example/a.css><style>body{display:none}</style>"
    "[click](javascript:alert(5)) ![i](http://evil.example/i.png) <a href='javascript:alert(6)'>a</a>"
    "<base href=http://evil.example/><meta http-equiv=refresh content='0;url=http://evil.example/'>{{token}}"
)
PARTS = "script, img, iframe, svg[onload], link[href*=evil], a[href^=javascript], base, meta[http-equiv]"


def elements(page: Page) -> int:
    return page.locator(PARTS).count()


def test_markup_in_every_place_of_a_trace_is_shown_and_does_nothing(desk: Desk, opened: Open) -> None:
    write_modes(desk.labels_folder, [Mode("FM-01", EVIL, EVIL, severity=EVIL)])
    steps = (
        {"role": "system", "content": EVIL},
        {"role": EVIL, "name": EVIL, "content": EVIL, EVIL: {EVIL: EVIL}},
        {"role": "user", "content": [{"type": "text", "text": EVIL}, {"type": EVIL}]},
    )
    page = opened(
        [Trace(EVIL, EVIL, steps, {EVIL: EVIL[:100], "system": EVIL}), Trace(f'{{"a": "{EVIL}"}}', EVIL)]
    )
    at(page, "t-000")
    assert elements(page) == 1  # the page's own script
    press(page, "s")
    expect(page.locator(".section.output .text")).to_have_text(EVIL)
    expect(page.locator(".section.input .text")).to_have_text(EVIL)
    expect(page.locator(".section.system .text").first).to_have_text(EVIL)
    press(page, "2")
    page.keyboard.insert_text(EVIL)
    press(page, "Enter")
    at(page, "t-001")
    saved(page)
    for key in ("l", "o"):
        press(page, key)
        expect(page.locator(".sheet:visible h2")).to_be_visible()
        assert elements(page) == 1
    page.get_by_role("button", name="Edit FM-01").click()
    expect(page.locator("#naming [name=definition]")).to_have_value(EVIL)
    press(page, "Escape")
    expect(page.locator("#naming")).to_be_hidden()
    press(page, "g")
    page.keyboard.type("script")
    expect(page.locator("#jump-found")).to_contain_text("<script>")
    press(page, "Escape")
    expect(page.locator("#jump")).to_be_hidden()
    press(page, "/")
    expect(page.locator("#filters")).to_be_visible()
    assert elements(page) == 1
    page.reload()
    assert page.evaluate("document.title") == "Review"


def test_the_policy_would_stop_what_became_markup(tabs: Tabs, opened: Open) -> None:
    page = opened(plain(1))
    says = (
        "try { document.body.innerHTML = '<img src=x onerror=alert(1)>'; 'set' } catch (error) { error.name }"
    )
    assert page.evaluate(says) == "TypeError"  # Trusted Types
    blocked = page.evaluate(
        """() => new Promise((done) => {
          document.addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
          document.body.append(Object.assign(document.createElement("img"), { src: "http://evil.example/i.png" }));
        })"""
    )
    assert blocked == "img-src"
    tabs.asked.remove("http://evil.example/i.png")  # stopped by the policy before it left the browser


def test_what_cannot_be_seen_is_marked(opened: Open) -> None:
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "obey")
    text = "a\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link b\u202ecod.exe\u202c c\u200bd\x00e\ufeff"
    text += f"{hidden}\r\nf"
    page = opened(
        [Trace("q", text), Trace("q", "👩‍👩‍👧 نص عربي café"), Trace("q", '{"a\u202e": "\\u202e\x7f"}')]
    )
    marks = page.locator(".section.output .unseen")
    expect(marks).to_have_text(
        [
            "ESC[31m",
            "ESC[0m",
            "ESC]8;;http://evil.exampleBEL",
            "RLO",
            "PDF",
            "ZWSP",
            "NUL",
            "BOM",
            "tags: obey",
        ]
    )
    shown = page.locator(".section.output .text").text_content()
    assert shown is not None
    assert not set(shown) & set("\x1b\u202e\u202c\u200b\x00\ufeff\r")
    press(page, "ArrowRight")
    at(page, "t-001")
    expect(page.locator(".section.output .text")).to_have_text("👩‍👩‍👧 نص عربي café")
    expect(marks).to_have_count(0)
    press(page, "ArrowRight")
    at(page, "t-002")
    expect(marks).to_have_text(["RLO", "DEL"])


def test_text_keeps_its_lines_and_marks_and_json_its_numbers(opened: Open) -> None:
    markdown = (
        "### SCENE II.\n\n**HAMLET.** Words, `words`.\n  two  spaces\n\n> said\n```\n# code\n```\nend\n"
    )
    numbers = (
        '{"big":12345678901234567890,"small":1.0e-3,"twice":1,"twice":2,"list":[],"text":"a \\"b\\" {c}"}'
    )
    page = opened([Trace(markdown, numbers), Trace("[1, 2", '["not", JSON]')])
    text = page.locator(".section.input .text")
    assert text.text_content() == markdown
    expect(text).to_have_css("white-space", "pre-wrap")
    expect(text.locator(".md-heading")).to_have_text("### SCENE II.\n")
    output = page.locator(".section.output .text")
    assert output.text_content() == (
        '{\n  "big": 12345678901234567890,\n  "small": 1.0e-3,\n  "twice": 1,\n  "twice": 2,\n  "list": [],\n'
        '  "text": "a \\"b\\" {c}"\n}'
    )
    page.get_by_role("button", name="as it came").click()
    assert output.text_content() == numbers
    press(page, "ArrowRight")
    at(page, "t-001")
    assert output.text_content() == '["not", JSON]'


def test_ten_megabytes_are_shortened_and_do_not_make_the_page_slow(opened: Open) -> None:
    line = "All work and no play makes Jack a dull boy.\n"
    text = line * (10_000_000 // len(line)) + "THE END"
    page = opened([Trace("q", text, ({"tool": "x", "result": "y" * 3_000_000},)), *plain(3)])
    at(page, "t-000")
    output = page.locator(".section.output")
    expect(output.locator(".field-tools")).to_contain_text(f"of {len(text):,}")
    assert output.evaluate("node => node.textContent.length") < 30_000
    output.get_by_role("button", name="Show all").click()
    press(page, "ArrowRight")  # at once
    at(page, "t-001")
    press(page, "ArrowLeft")
    at(page, "t-000")
    output.get_by_role("button", name="Show all").click()
    expect(output.locator(".field-tools")).to_have_text(f"All {len(text):,} characters.")
    assert output.evaluate("node => node.querySelector('.text').textContent.length") == len(text)
    assert output.evaluate("node => node.querySelector('.text').textContent.endsWith('THE END')")
    press(page, "1")
    at(page, "t-001")
    saved(page)


def test_a_conversation_is_read_in_its_order_and_nothing_twice(opened: Open) -> None:
    steps = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello. What do you need?"},
        {"role": "user", "content": "A train"},
        {"role": "tool", "name": "trains", "arguments": {"to": "Ulm"}, "result": "12:04"},
        {"role": "assistant", "content": "At 12:04."},
    )
    page = opened([Trace("A train", "At 12:04.", steps)])
    at(page, "t-000")
    titles = ["System prompt", "user", "assistant", "Input", "tool · trains", "Output"]
    expect(page.locator(".section-title")).to_have_text(titles)
    expect(page.locator("details:not([open])")).to_have_count(2)
    expect(page.locator(".section.tool .preview")).to_have_text('{ "to": "Ulm" }')


def variables(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", css))


def luminance(colour: str) -> float:
    shares = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_of_text_is_readable_on_every_ground() -> None:
    css = (Path(pytest_evalloop.review.__file__).parent / "static/review.css").read_text()
    light, dark, _ = css.split("color-scheme: dark)")[0], css.split("color-scheme: dark)")[1], None
    for scheme in (variables(light), variables(light) | variables(dark)):
        grounds = ("ground", "paper", "raised", "sunken")
        pairs = list(itertools.product(("ink", "soft", "accent", "pass", "fail", "defer"), grounds))
        pairs += [
            ("accent", "on-accent"),
            ("mark", "mark-ground"),
            ("ink", "defer-ground"),
            ("soft", "defer-ground"),
        ]
        pairs += [(verdict, f"{verdict}-ground") for verdict in ("pass", "fail", "defer")]
        for text, ground in pairs:
            high, low = sorted((luminance(scheme[text]), luminance(scheme[ground])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
