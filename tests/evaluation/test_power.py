"""What a study can see: textbook values, and what costs sight."""

from __future__ import annotations

import math

import pytest
from scipy.stats import nct, norm, t

from tinyrm.errors import ConfigError
from tinyrm.evaluation.power import detectable_effect, power_of, smallest_effect

CHAT = ({"chat": 1000}, {"chat": 1.0})


def test_one_seed_is_the_textbook_formula() -> None:
    """(z_0.975 + z_0.8) sqrt(discordance / n): Connor 1987, Biometrics 43:207, with the variance under no effect."""
    found = detectable_effect(*CHAT, 1, discordance=0.1, seed_sd=0.5)
    assert found == pytest.approx((norm.ppf(0.975) + norm.ppf(0.8)) * 0.01, rel=1e-6)
    strict = detectable_effect(*CHAT, 1, discordance=0.1, seed_sd=0, comparisons=5, power=0.9)
    assert strict == pytest.approx((norm.ppf(0.995) + norm.ppf(0.9)) * 0.01, rel=1e-6)


def test_many_seeds_are_the_textbook_formula_with_both_variances() -> None:
    found = detectable_effect(*CHAT, 2000, discordance=0.1, seed_sd=0.5)
    assert found == pytest.approx(2.8016 * math.sqrt(0.1 / 1000 + 0.25 / 2000), rel=2e-3)


def test_few_seeds_without_end_of_pairs_are_the_t_test_over_seeds() -> None:
    """3 seeds, 2 degrees of freedom: 5.6 standard errors where many seeds need 2.8."""
    found = detectable_effect({"a": 10**9}, {"a": 1.0}, 3, discordance=0.1, seed_sd=0.01)
    errors = found / (0.01 / math.sqrt(3))
    assert nct.sf(t.ppf(0.975, 2), 2, errors) == pytest.approx(0.8, abs=0.002)
    assert errors == pytest.approx(5.65, abs=0.05)


def test_sections_weigh_and_interactions_are_harder_to_see() -> None:
    n = {"a": 400, "b": 400}
    mean = detectable_effect(n, {"a": 0.5, "b": 0.5}, 1, discordance=0.1, seed_sd=0)
    gap = detectable_effect(n, {"a": 1, "b": -1}, 1, discordance=0.1, seed_sd=0)
    assert gap == pytest.approx(2 * mean)
    assert detectable_effect({**n, "c": 1}, {"a": 0.5, "b": 0.5}, 1, discordance=0.1, seed_sd=0) == mean


def test_more_of_anything_helps() -> None:
    base = detectable_effect(*CHAT, 3, discordance=0.1, seed_sd=0.005)
    assert detectable_effect({"chat": 4000}, {"chat": 1.0}, 3, discordance=0.1, seed_sd=0.005) < base
    assert detectable_effect(*CHAT, 6, discordance=0.1, seed_sd=0.005) < base
    assert detectable_effect(*CHAT, 3, discordance=0.1, seed_sd=0.005, comparisons=4) > base
    assert detectable_effect(*CHAT, 3, discordance=0.1, seed_sd=0.02) > base


@pytest.mark.parametrize(("seeds", "worst"), [(3, 0.0), (6, 1.0)])
def test_where_nothing_is_known_of_the_noise_the_least_favourable_is_taken(seeds: int, worst: float) -> None:
    size = {"seeds": seeds, "discordance": 0.15, "seed_sd": 0.005, "comparisons": 4}
    known = {shared: detectable_effect(*CHAT, **size, shared=shared) for shared in (0.0, 0.5, 1.0)}
    assert detectable_effect(*CHAT, **size) == max(known.values()) == known[worst]
    assert min(known.values()) < 0.85 * known[worst]


def test_power_at_nothing_is_half_the_level_and_at_the_smallest_effect_what_was_asked() -> None:
    assert power_of(0.0, units=1e-4, noise=0, between=0, seeds=1) == pytest.approx(0.025)
    parts = {"units": 1e-4, "noise": 3e-5, "between": 2e-5, "seeds": 3}
    assert power_of(smallest_effect(**parts, power=0.7), **parts) == pytest.approx(0.7, abs=1e-6)
    assert power_of(-0.02, **parts) == power_of(0.02, **parts)


def test_what_cannot_be_is_refused_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        detectable_effect(
            {"a": 10}, {"b": 1.0}, 0, discordance=2, seed_sd=-1, power=1, alpha=0, comparisons=0, shared=2
        )
    assert len(caught.value.problems) == 8
    assert "n lacks b" in caught.value.problems[0]
