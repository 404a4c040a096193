"""Forms and their options: what belongs together, and the nearest name of what does not exist."""

from __future__ import annotations

import pytest

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.records.formats import Format


def test_a_form_says_its_name_and_whether_it_needs_samples() -> None:
    assert (Format().name, Format().calibrates) == ("static int8", True)
    assert (Format("dynamic").name, Format("dynamic").calibrates) == ("dynamic int8", False)


def test_names_that_do_not_exist_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="--form: unknown form 'statik'; did you mean static"):
        Format("statik")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="--layout: unknown layout 'qopertor'; did you mean qoperator"):
        Format(layout="qopertor")  # type: ignore[arg-type]


def test_an_option_of_another_form_is_refused() -> None:
    with pytest.raises(
        UsageError, match="--layout qoperator belongs to static int8, not to dynamic int8; leave it out"
    ):
        Format("dynamic", layout="qoperator")
