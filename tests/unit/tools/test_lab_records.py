"""Judging the records that a guest left on its disk."""

import struct
import zlib

from labkit.guest import SECTOR, Verdict, judge, parse_record


def sector(number: int, boot_id: str = "boot") -> bytes:
    body = b"NBMREC01" + struct.pack("<QQ", number, 1_500_000) + boot_id.encode().ljust(40, b"\0")
    body = body.ljust(SECTOR - 4, bytes([number & 0xFF]))
    return body + struct.pack("<I", zlib.crc32(body))


def damaged(number: int) -> bytes:
    return sector(number)[:-1] + b"?"


EMPTY = bytes(SECTOR)


def test_record_is_read_back():
    record = parse_record(sector(7, "abc"))
    assert record is not None
    assert (record.number, record.uptime_s, record.boot_id) == (7, 1.5, "abc")


def test_untouched_area_has_no_records():
    assert judge([EMPTY * 4]) == Verdict(0, 0, 0, 0)


def test_whole_stream_across_blocks_is_whole():
    verdict = judge([sector(1) + sector(2), sector(3) + EMPTY, EMPTY * 8])
    assert verdict == Verdict(1, 3, 0, 0)
    assert verdict.is_whole


def test_lost_record_is_missing():
    verdict = judge([sector(1) + EMPTY + sector(3)])
    assert verdict == Verdict(1, 3, missing=1, corrupt=0)
    assert not verdict.is_whole


def test_lost_block_is_missing():
    assert judge([sector(1), EMPTY * 5, sector(7)]) == Verdict(1, 7, missing=5, corrupt=0)


def test_damaged_record_is_corrupt_wherever_it_is():
    assert judge([sector(1) + damaged(2) + sector(3)]) == Verdict(1, 3, missing=0, corrupt=1)
    assert judge([sector(1) + sector(2) + damaged(3)]) == Verdict(1, 2, missing=0, corrupt=1)


def test_record_in_the_wrong_place_is_corrupt():
    assert judge([sector(1) + sector(9) + sector(3)]).corrupt == 1
