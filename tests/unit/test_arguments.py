"""The types of options that several scripts share."""

import argparse

import pytest

from bayesian_lottery import arguments


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e300", "x", ""])
@pytest.mark.parametrize("kind", [arguments.above_zero, arguments.count])
def test_what_is_no_amount_is_refused(kind, text):
    with pytest.raises(
        argparse.ArgumentTypeError, match=rf"^'{text}' is not allowed; .* 1000000000$"
    ):
        kind(text)


def test_amounts():
    assert (arguments.above_zero("0.5"), arguments.count("50")) == (0.5, 50)
