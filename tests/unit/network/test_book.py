"""The book of what was made survives a crash of the service, and no boot of the host."""

from __future__ import annotations

from pathlib import Path

from nova_blockmigrate.network.book import Book


def note(book: Book) -> None:
    with book.bridge("br7") as entry:
        entry.taps.append("tap1")
        entry.made.append("br7")
        book.save()


def test_what_was_noted_is_read_again(tmp_path: Path) -> None:
    note(Book(str(tmp_path / "book.json"), "boot 1"))
    again = Book(str(tmp_path / "book.json"), "boot 1")
    assert again.bridges_of("tap1") == ["br7"]
    with again.bridge("br7") as entry:
        assert entry.made == ["br7"]


def test_devices_of_an_earlier_boot_are_forgotten(tmp_path: Path) -> None:
    note(Book(str(tmp_path / "book.json"), "boot 1"))
    assert Book(str(tmp_path / "book.json"), "boot 2").bridges_of("tap1") == []


def test_a_bridge_without_taps_and_made_by_others_is_not_kept(tmp_path: Path) -> None:
    book = Book(str(tmp_path / "book.json"), "boot 1")
    note(book)
    with book.bridge("br7") as entry:
        entry.taps.clear()
        entry.made.clear()
        book.save()
    assert "br7" not in (tmp_path / "book.json").read_text()
