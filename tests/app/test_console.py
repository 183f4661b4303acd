"""What is said to the user."""

from __future__ import annotations

import threading

from cytotome.app.console import Bar, Notices, printable


def test_a_kind_of_notice_is_one_line_with_a_count() -> None:
    notices = Notices()
    for name in ("b.tif", "a.tif", "b.tif"):
        notices.add(name, "several pages")
    notices.add("x.bmp", "not taken", "files")
    assert notices.lines() == ["several pages: 2 images, first a.tif", "not taken: x.bmp"]


def test_tiles_of_all_images_at_hand_are_added_up() -> None:
    shown: list[tuple[int, int, int]] = []
    bar = Bar(lambda *numbers: shown.append(numbers))
    bar.tile(1, 4)
    other = threading.Thread(target=bar.tile, args=(2, 9))
    other.start()
    other.join()
    bar.tile(4, 4)  # its last one: from here on only the other image's tiles are shown
    bar()
    assert shown == [(0, 1, 4), (0, 3, 13), (0, 2, 9), (1, 2, 9)]


def test_file_names_that_are_not_utf8_can_be_printed() -> None:
    assert printable("Zürich µ") == "Zürich µ"
    assert printable(b"Z\xfcrich".decode("utf-8", "surrogateescape")) == r"Z\xfcrich"
