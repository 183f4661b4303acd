"""What is said to the user."""

from __future__ import annotations

from cytotome.app.console import Notices


def test_a_kind_of_notice_is_one_line_with_a_count() -> None:
    notices = Notices()
    for name in ("b.tif", "a.tif", "b.tif"):
        notices.add(name, "several pages")
    notices.add("x.bmp", "not taken", "files")
    assert notices.lines() == ["several pages: 2 images, first a.tif", "not taken: x.bmp"]
