"""Who may open the review page: tokens for one use and for many, a cookie, and the file that its secret lies in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalloop.review.entry import Entry, lasting_secret, same
from pytest_evalloop.store.home import StoreError

SECRET = "s" * 64


@given(st.text(st.characters()), st.text(st.characters()))
def test_secrets_are_the_same_only_if_they_are(one: str, other: str) -> None:
    assert same(one, other) is (one == other)
    assert same(one, one)


def test_an_address_lets_in_again_and_again_and_one_for_the_browser_once() -> None:
    entry, next_start = Entry(SECRET, 7), Entry(SECRET, 7)
    once, other = entry.once(), entry.once()
    assert len({entry.token, next_start.token, once, other}) == 4
    assert entry.opens(entry.token)
    assert entry.opens(entry.token)
    assert entry.opens(once)
    assert not entry.opens(once)
    assert entry.opens(other)
    for token in ("", next_start.token, entry.token[:-1], SECRET):
        assert not entry.opens(token)


@pytest.mark.parametrize(
    ("cookies", "known"),
    [
        ([], False),
        ([f"evalloop-review-7={SECRET}"], True),
        ([f"a=b; evalloop-review-7={SECRET}; c"], True),
        (["a=b", f"evalloop-review-7={SECRET}"], True),
        ([f"evalloop-review-7=x; evalloop-review-7={SECRET}"], True),  # another port may set one, too
        ([f"evalloop-review-8={SECRET}"], False),
        ([f"evalloop-review-7={SECRET}x", "evalloop-review-7", "=", ";;", "\xff=\xff"], False),
    ],
)
def test_a_cookie_is_known_by_its_name_and_its_value(cookies: list[str], known: bool) -> None:
    assert Entry(SECRET, 7).knows(cookies) is known


def test_the_secret_stays_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "review-key"
    secret = lasting_secret(path)
    assert len(secret) >= 40
    assert lasting_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("spoilt", ["readable", "empty", "short", "a link", "bytes"])
def test_a_secret_that_others_may_know_is_replaced(tmp_path: Path, spoilt: str) -> None:
    path = tmp_path / "review-key"
    secret = lasting_secret(path)
    if spoilt == "readable":
        path.chmod(0o640)
    elif spoilt == "a link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to("elsewhere")
    else:
        path.write_bytes({"empty": b"", "short": b"abc\n", "bytes": b"\xff" * 64}[spoilt])
    new = lasting_secret(path)
    assert new != secret
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert lasting_secret(path) == new


def test_a_secret_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="review-key could not be written"):
        lasting_secret(tmp_path / "absent/review-key")
