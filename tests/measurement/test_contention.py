from __future__ import annotations

import pytest

from deploycompress.measurement.contention import Load, notes, waited_share


def test_waiting_is_a_share_of_the_time_of_all_threads() -> None:
    loads = [Load(10.0, 18.0, 1.0), Load(30.0, 55.0, 3.0)]
    assert waited_share(loads, threads=2) == pytest.approx(4 / 80)


def test_one_stretch_that_was_not_counted_leaves_the_share_unknown() -> None:
    assert waited_share([Load(10.0, 9.0, 1.0), Load(10.0, 9.0, None)], threads=1) is None
    assert waited_share([], threads=1) is None


def test_contention_is_told_in_words() -> None:
    assert notes(0.123, (50, 1000)) == (
        "the hypervisor took 5 % of the processor time away",
        "other work on this machine held the processor for 12 % of the time",
    )


def test_quiet_or_silent_systems_give_no_note() -> None:
    assert notes(0.01, (1, 1000)) == ()
    assert notes(None, None) == ()
