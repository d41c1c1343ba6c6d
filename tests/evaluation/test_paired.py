import pytest
import torch
from scipy.stats import binomtest

from advdpnp.evaluation import paired_test
from advdpnp.metrics import pack
from advdpnp.runs import Json


def result(clean: list[int], attacked: list[int], **changes: object) -> Json:
    row = {"name": "pgd", "norm": "linf", "eps": "0.1", "steps": 20, "step_size": "0.01", "restarts": 1,
           "random_start": True, "verdicts": pack(torch.tensor(attacked).bool()), "robust_accuracy": 0.0}  # fmt: skip
    facts = {"data": "digits", "suite": "s", "indices": f"0-{len(clean) - 1}", "chunk": 128, "n": len(clean)}
    return facts | {"clean_verdicts": pack(torch.tensor(clean).bool()), "attacks": [row]} | changes


def test_counts_accuracies_and_p_follow_from_the_verdicts() -> None:
    first, second = result([1] * 10, [1] * 9 + [0]), result([1] * 10, [0] * 8 + [1, 1])
    clean, attacked, worst = paired_test(first, second)
    assert (clean["only_first"], clean["only_second"], clean["p"]) == (0, 0, 1.0)
    assert (attacked["name"], attacked["first"], attacked["second"]) == ("pgd-20 linf 0.1", 0.9, 0.2)
    assert (attacked["only_first"], attacked["only_second"]) == (8, 1)
    assert attacked["p"] == pytest.approx(binomtest(8, 9).pvalue)
    assert worst["first"] == 0.9


def test_results_of_other_images_or_attacks_are_refused() -> None:
    first = result([1] * 10, [1] * 10)
    with pytest.raises(ValueError, match="indices: 0-9, not 0-8"):
        paired_test(first, result([1] * 9, [1] * 9))
    with pytest.raises(ValueError, match="not evaluated alike"):
        paired_test(first, result([1] * 10, [1] * 10, attacks=[]))
    other = result([1] * 10, [1] * 10)
    other["attacks"][0]["kappa"] = 0.0
    with pytest.raises(ValueError, match=r"attack\.1\.kappa: None, not 0\.0"):
        paired_test(first, other)
