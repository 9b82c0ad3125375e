import math
from dataclasses import replace

import numpy as np
import pytest

from thermotui.analysis.balance import balance_between
from thermotui.runlog.schema import THERMO, Header, Layer, row_dtype

HEADER = Header(
    run_id="r", created=0.0, family="softmax", layers=(Layer("0", 4),), ensemble=8, stride=10, marginal="ensemble"
)


def row(step: int, **values: float) -> np.void:
    """A row of `thermo` that adds up: W = 3, Q = −4, ΔS = −1, ΔI = 0.5."""
    rows = np.zeros(1, row_dtype(THERMO, HEADER))
    for name in rows.dtype.names or ():
        if rows.dtype[name].kind == "f":
            rows[name] = math.nan
    books = {"step": step, "work": 0.0, "heat": 0.0, "ep_conditional": 0.0, "ep_marginal": 0.0, "ep_ignorance": 0.0}
    books |= {"m_info": 0.0, "entropy_conditional": 2.0, "entropy_marginal": 2.0, "l_info_lower": 0.0}
    books |= {"first_law_residual": 0.0, "first_law_residual_se": 0.0, "work_se": 0.1, "heat_se": 0.1, "m_info_se": 0.1}
    if step:
        books |= {"work": 3.0, "heat": -4.0, "ep_conditional": 3.0, "ep_marginal": 3.5, "ep_ignorance": 0.5}
        books |= {"m_info": 4.0, "entropy_conditional": 1.0, "entropy_marginal": 1.5, "l_info_lower": 0.5}
    for name, value in (books | values).items():
        rows[name] = value
    return rows[0]


def test_a_run_whose_books_agree_adds_up() -> None:
    sheet = balance_between(HEADER, row(0), row(100))
    assert sheet.adds_up
    assert {check.name for check in sheet.checks} == {
        "first law",
        "work is conditional entropy production",
        "L-info is ignorance entropy production",
        "second law",
        "data processing",
    }
    heat = next(figure for figure in sheet.figures if figure.name == "heat")
    assert (heat.value, heat.standard_error, heat.kind) == (-4.0, pytest.approx(0.1), "estimate")


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ({"first_law_residual": 1e-3}, "first law"),
        ({"ep_conditional": 3.1, "ep_marginal": 3.6}, "work is conditional entropy production"),
        ({"l_info_lower": 0.6}, "L-info is ignorance entropy production"),
        ({"work": -0.5, "ep_conditional": -0.5, "ep_marginal": 0.0}, "second law"),
    ],
)
def test_books_that_disagree_are_told(broken: dict[str, float], name: str) -> None:
    sheet = balance_between(HEADER, row(0), row(100, **broken))
    assert not sheet.adds_up
    assert [check.name for check in sheet.checks if not check.holds] == [name]


def test_a_residual_within_three_standard_errors_is_no_fault() -> None:
    assert balance_between(HEADER, row(0), row(100, first_law_residual=0.29, first_law_residual_se=0.1)).adds_up
    assert not balance_between(HEADER, row(0), row(100, first_law_residual=0.31, first_law_residual_se=0.1)).adds_up


def test_m_info_below_l_info_breaks_the_assumption_not_the_books() -> None:
    sheet = balance_between(HEADER, row(0), row(100, m_info=0.1, m_info_se=0.01))
    assert sheet.adds_up
    assert [check.name for check in sheet.checks if not check.holds] == ["data processing"]


def test_exact_figures_have_no_error() -> None:
    sheet = balance_between(replace(HEADER, figures={"work": "exact"}), row(0), row(100))
    work = next(figure for figure in sheet.figures if figure.name == "work")
    assert (work.standard_error, work.kind) == (0.0, "exact")


def test_an_interval_shows_gains() -> None:
    sheet = balance_between(HEADER, row(50), row(100, heat=-9.0))
    heat = next(figure for figure in sheet.figures if figure.name == "heat")
    assert heat.value == -5.0
    assert heat.standard_error == pytest.approx(0.2)
