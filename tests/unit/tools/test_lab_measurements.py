"""What is concluded from a ping's output, and from samples of two hosts."""

from labkit.ping import parse
from labkit.sampler import Sample, report, spans

RUNNING, PAUSED, ABSENT = 1, 3, -1


def answer(at: float, sequence: int) -> str:
    return f"[{at:.6f}] 64 bytes from 10.11.0.10: icmp_seq={sequence} ttl=64 time=0.4 ms\n"


def samples(host: str, begin: float, end: float, state: int | None = RUNNING, process_runs: bool = True) -> list[Sample]:
    """An answer every 10 ms, each given after 2 ms."""
    count = round((end - begin) / 0.01)
    return [Sample(host, begin + i * 0.01, begin + i * 0.01 + 0.002, state, 0, process_runs) for i in range(count + 1)]


def test_longest_gap_is_between_two_answers():
    result = parse("PING\n" + answer(1.0, 1) + answer(1.01, 2) + answer(1.25, 14) + answer(1.26, 15))
    assert (result.answers, result.lost) == (4, 11)
    assert round(result.longest_gap_s, 6) == 0.24
    assert result.gap_began_at == 1.01


def test_ping_without_answers_has_no_gap():
    assert parse("PING\n").answers == 0


def test_guest_that_moves_is_never_seen_twice():
    seen = samples("a", 0, 1) + samples("a", 1.01, 2, PAUSED) + samples("b", 0, 1.05, PAUSED) + samples("b", 1.06, 2)
    result = report(seen)
    assert result.max_running == 1
    assert result.ran_on == ["a", "b"]


def test_guest_that_runs_on_both_is_seen_twice():
    result = report(samples("a", 0, 1) + samples("b", 0.5, 1.5))
    assert result.max_running == 2
    assert 0.45 < result.overlap_s < 0.55


def test_stopped_process_does_not_run_whatever_libvirt_says():
    assert report(samples("a", 0, 1, process_runs=False) + samples("b", 0, 1)).max_running == 1


def test_time_between_distant_answers_proves_nothing():
    late = [Sample("a", 0, 0.002, RUNNING, 0, True), Sample("a", 5, 5.002, RUNNING, 0, True)]
    assert spans(late) == [(0.002, 0.002), (5.002, 5.002)]


def test_unanswered_questions_are_counted():
    result = report(samples("a", 0, 1) + samples("b", 0, 1, None))
    assert result.unanswered == {"a": 0, "b": 101}
    assert result.max_running == 1
