"""The ledger's identities and its standard errors."""

import itertools
import math

import numpy as np
import pytest
from scipy import special

from thermotui.runlog.schema import THERMO
from thermotui.thermo.information import categorical_reading, categorical_transition
from thermotui.thermo.ledger import Ledger
from thermotui.thermo.transition import Reading, Transition


def trajectory(members: int, inputs: int, steps: int, seed: int = 0) -> list[np.ndarray]:
    """Log-probabilities of a random walk in the logits."""
    generator = np.random.default_rng(seed)
    logits = np.cumsum(0.3 * generator.standard_normal((steps + 1, members, inputs, 4)), axis=0)
    return list(special.log_softmax(logits, axis=-1))


def fill(ledger: Ledger, states: list[np.ndarray]) -> list[dict[str, float]]:
    rows = [ledger.begin(0, categorical_reading(states[0]))]
    for step, (before, after) in enumerate(itertools.pairwise(states), start=1):
        rows.append(ledger.advance(step, categorical_transition(before, after), categorical_reading(after)))
    return rows


def test_rows_have_the_fields_of_the_stream() -> None:
    for row in fill(Ledger(3), trajectory(3, 5, 2)):
        assert set(row) == {field.name for field in THERMO.fields} - {"time"}


def test_row_zero_has_zero_totals_and_the_first_entropies() -> None:
    states = trajectory(3, 5, 1)
    row = fill(Ledger(3), states)[0]
    for name in ("work", "heat", "m_info", "ep_conditional", "ep_marginal", "ep_ignorance", "first_law_residual"):
        assert row[name] == 0
    assert row["entropy_conditional"] == pytest.approx(-(np.exp(states[0]) * states[0]).sum(-1).mean(), abs=1e-14)
    assert row["l_info_lower"] > 0
    assert math.isnan(row["learning_efficiency"])


def test_identities_along_a_trajectory() -> None:
    rows = fill(Ledger(4), trajectory(4, 9, 200))
    first = rows[0]
    for row in rows:
        assert row["work"] == pytest.approx(row["ep_conditional"], abs=1e-9)
        assert row["work"] + row["heat"] == pytest.approx(
            row["entropy_conditional"] - first["entropy_conditional"], abs=1e-9
        )
        gained = row["l_info_lower"] - first["l_info_lower"]
        assert gained == pytest.approx(row["ep_marginal"] - row["ep_conditional"], abs=1e-9)
        assert gained == pytest.approx(row["ep_ignorance"], abs=1e-9)
        assert row["m_info"] == -row["heat"]
        assert abs(row["first_law_residual"]) < 3 * row["first_law_residual_se"] + 1e-15
    assert rows[-1]["learning_efficiency"] == pytest.approx(rows[-1]["ep_ignorance"] / rows[-1]["m_info"], abs=1e-12)


def test_a_broken_first_law_shows() -> None:
    states = trajectory(3, 6, 2)
    ledger = Ledger(3)
    ledger.begin(0, categorical_reading(states[0]))
    honest = categorical_transition(states[0], states[1])
    row = ledger.advance(1, Transition(honest.work + 1e-6, honest.heat), categorical_reading(states[1]))
    assert abs(row["first_law_residual"]) > 3 * row["first_law_residual_se"]


def test_standard_errors_cover_whatever_the_correlation_of_the_slots() -> None:
    """z-scores of a total over many repetitions: the same inputs all along, and fresh draws at every step."""
    generator = np.random.default_rng(1)
    for fixed in (True, False):
        scores = []
        for _ in range(400):
            ledger = Ledger(2)
            zero = Reading(np.zeros((2, 1)))
            ledger.begin(0, zero)
            offsets = generator.standard_normal((1, 40))
            row = {}
            for step in range(1, 6):
                slots = (offsets if fixed else generator.standard_normal((1, 40))) + np.zeros((2, 1))
                row = ledger.advance(step, Transition(work=1 + slots, heat=-1 - slots), zero)
            scores.append((row["work"] - 5) / row["work_se"])
        assert 0.85 < np.std(scores) < 1.2


def test_one_slot_is_exact() -> None:
    ledger = Ledger(3)
    zero = Reading(np.zeros((3, 1)))
    ledger.begin(0, zero)
    row = ledger.advance(1, Transition(np.ones((3, 1)), -np.ones((3, 1))), zero)
    assert (row["work"], row["work_se"]) == (1.0, 0.0)


def test_a_single_run_reads_against_its_window_and_never_as_an_ensemble() -> None:
    entropy = np.full((1, 4), 0.5)
    ledger = Ledger(1)
    ledger.begin(0, Reading(entropy, entropy))
    row = ledger.advance(1, Transition(np.ones((1, 4)), -np.ones((1, 4))), Reading(entropy, entropy + 0.1))
    assert row["l_info_window"] == pytest.approx(0.1)
    assert math.isnan(row["l_info_lower"]) and math.isnan(row["l_info_upper"])


def test_without_a_mixture_nothing_is_said_of_information() -> None:
    ledger = Ledger(4)
    ledger.begin(0, Reading(np.zeros((4, 3))))
    row = ledger.advance(1, Transition(np.ones((4, 3)), -np.ones((4, 3))), Reading(np.zeros((4, 3))))
    for name in ("entropy_marginal", "ep_marginal", "ep_ignorance", "l_info_lower", "l_info_upper", "l_info_window"):
        assert math.isnan(row[name]) and math.isnan(row[f"{name}_se"])
    assert row["m_info"] == 1 and math.isnan(row["learning_efficiency"])


def test_efficiency_waits_until_m_info_stands_clear_of_its_error() -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((2, 100))
    ledger = Ledger(2)
    reading = Reading(np.zeros((2, 100)), np.zeros((2, 100)))
    ledger.begin(0, reading)
    row = ledger.advance(1, Transition(noise - noise.mean() + 0.01, -(noise - noise.mean()) - 0.01), reading)
    assert row["m_info"] == pytest.approx(0.01) and math.isnan(row["learning_efficiency"])
    row = ledger.advance(2, Transition(np.ones((2, 100)), -np.ones((2, 100))), reading)
    assert row["learning_efficiency"] == pytest.approx(0, abs=1e-12)


def test_members_keep_their_own_totals_and_resuming_changes_nothing() -> None:
    states = trajectory(3, 5, 6)
    straight, first_half = Ledger(3), Ledger(3)
    rows = fill(straight, states)
    fill(first_half, states[:4])
    resumed = Ledger(3)
    resumed.load_state_dict(first_half.state_dict())
    for step in (4, 5, 6):
        row = resumed.advance(
            step, categorical_transition(states[step - 1], states[step]), categorical_reading(states[step])
        )
        np.testing.assert_equal(row, rows[step])
    members = resumed.member_row()
    assert members["work"].shape == (3,)
    assert members["work"].mean() == pytest.approx(rows[-1]["work"], abs=1e-12)
    np.testing.assert_equal(members, straight.member_row())


def test_a_diverged_run_goes_on() -> None:
    states = trajectory(3, 5, 3)
    states[2] = np.full_like(states[2], np.nan)
    rows = fill(Ledger(3), states)
    assert math.isfinite(rows[1]["work"]) and math.isnan(rows[2]["work"]) and math.isnan(rows[3]["work"])
    assert math.isfinite(rows[3]["entropy_conditional"])


def test_a_ledger_must_begin() -> None:
    with pytest.raises(RuntimeError, match="begun"):
        Ledger(2).member_row()
    with pytest.raises(RuntimeError, match="begun"):
        Ledger(2).advance(1, Transition(np.ones((2, 1)), np.ones((2, 1))), Reading(np.ones((2, 1))))
