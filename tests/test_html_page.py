"""Words and numbers on a page stay together, and agree with one another."""

import re

import pytest

from afnet_jax.html_page import counted, figure, paragraph


@pytest.mark.parametrize("make", [paragraph, lambda words: figure("", words)])
def test_no_line_begins_with_the_sign_of_a_percentage(make):
    shown = make("It reaches 92.9 %, of <100 %>; % alone, and 5 mm, may begin one.")
    assert re.findall(r"\S+[\N{NO-BREAK SPACE}]%", shown) == ["92.9\N{NO-BREAK SPACE}%", "&lt;100\N{NO-BREAK SPACE}%"]
    assert "; % alone, and 5 mm, may" in shown


def test_one_is_singular():
    assert [counted(number, "fold") for number in (0, 1, 2, 1000)] == ["0 folds", "1 fold", "2 folds", "1,000 folds"]
