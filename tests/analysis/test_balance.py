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


def interval_efficiency(header: Header = HEADER, **changes: float) -> tuple[float, float] | None:
    """Value and error of the efficiency from step 50, of Σ_ign 0.5 and M-info 4 gained till then, to step 100."""
    gains = {"ep_ignorance": 0.6, "m_info": 6.0, "m_info_se": 0.2, "ep_ignorance_se": 0.03, "learning_efficiency": 0.1}
    first = row(50, m_info_se=0.1, ep_ignorance_se=0.02, learning_efficiency=0.125)
    sheet = balance_between(header, first, row(100, **(gains | changes)))
    found = {figure.name: (figure.value, figure.standard_error) for figure in sheet.figures}
    return found.get("learning_efficiency")


def test_the_efficiency_of_an_interval_is_that_of_its_gains() -> None:
    # 0.1 ± 0.05 nats learnt of 2 ± 0.3 memorised.
    assert interval_efficiency() == pytest.approx((0.05, (0.05 + 0.05 * 0.3) / 2.0))
    assert interval_efficiency(ep_ignorance=0.4) == pytest.approx((-0.05, (0.05 + 0.05 * 0.3) / 2.0))


def test_the_efficiency_of_an_interval_of_exact_figures_is_exact() -> None:
    exact = replace(HEADER, figures={"m_info": "exact", "ep_ignorance": "exact"})
    assert interval_efficiency(exact) == pytest.approx((0.05, 0.0))


def test_without_an_error_there_is_still_the_efficiency_of_an_interval() -> None:
    found = interval_efficiency(m_info_se=math.nan)
    assert found is not None and found[0] == pytest.approx(0.05) and math.isnan(found[1])


@pytest.mark.parametrize(
    "changes", [{"m_info": 4.8}, {"m_info": 3.0}, {"m_info": 4.0}, {"m_info": math.nan}, {"ep_ignorance": math.nan}]
)
def test_where_m_info_is_not_clear_of_its_error_an_interval_has_no_efficiency(changes: dict[str, float]) -> None:
    assert interval_efficiency(**changes) is None


def test_since_step_0_the_efficiency_is_the_logged_one() -> None:
    sheet = balance_between(HEADER, row(0), row(100, learning_efficiency=0.125, learning_efficiency_se=0.01))
    efficiency = next(figure for figure in sheet.figures if figure.name == "learning_efficiency")
    assert (efficiency.value, efficiency.standard_error) == (0.125, pytest.approx(0.01))
