"""Metrics against independent libraries."""

import numpy as np
import pytest
import torch

from bayesian_lottery.training.metrics import METRICS, Predictions, calibration_errors, evaluate


def random_case(samples=5, images=700, classes=10, scale=3.0, seed=0):
    stream = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(samples, images, classes, generator=stream)
    labels = torch.randint(classes, (images,), generator=stream)
    logits[:, torch.arange(images), labels] += 2
    return logits, labels


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [10, 15])
def test_mace_is_netcals_ace(seed, bins):
    from netcal.metrics import ACE, ECE

    logits, labels = random_case(seed=seed)
    probabilities = Predictions.of(logits).log_probabilities.exp()
    found = evaluate(Predictions.of(logits), labels, bins, stochastic=True)
    # netcal takes the whole distribution; its top-class confidence is the maximum.
    values = probabilities.numpy().astype(np.float64)
    assert found["mace"] == pytest.approx(ACE(bins).measure(values, labels.numpy()), abs=1e-6)
    assert found["ece"] == pytest.approx(ECE(bins).measure(values, labels.numpy()), abs=1e-6)


def test_accuracy_ece_nll_against_torchmetrics_and_torch():
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_calibration_error,
    )

    logits, labels = random_case()
    found = evaluate(Predictions.of(logits), labels, 10, stochastic=True)
    probabilities = logits.softmax(-1).mean(0)
    accuracy = multiclass_accuracy(probabilities, labels, 10, average="micro")
    assert found["accuracy"] == pytest.approx(accuracy.item())
    ece = multiclass_calibration_error(probabilities, labels, 10, n_bins=10)
    assert found["ece"] == pytest.approx(ece.item(), abs=1e-6)
    nll = torch.nn.functional.nll_loss(probabilities.log(), labels)
    assert found["nll"] == pytest.approx(nll.item(), rel=1e-5)
    one_hot = torch.nn.functional.one_hot(labels, 10)
    assert found["brier"] == pytest.approx(
        ((probabilities - one_hot) ** 2).sum(-1).mean().item(), rel=1e-5
    )


@pytest.mark.parametrize("distinct", [4, 1000])
@pytest.mark.parametrize("share", [0.01, 0.4])
def test_auc_and_average_precision_are_scikit_learns_with_ties_too(distinct, share):
    from sklearn.metrics import average_precision_score, roc_auc_score

    stream = torch.Generator().manual_seed(0)
    labels = (torch.rand(900, generator=stream) < share).long()
    logits = torch.randn(3, 900, 2, generator=stream)
    logits[..., 1] += labels
    logits = (logits * distinct).round() / distinct
    predictions = Predictions.of(logits[:1] if distinct == 4 else logits)
    found = evaluate(predictions, labels, 10, stochastic=True, ranked=True)
    scores = predictions.log_probabilities.diff(dim=1)[:, 0]
    assert len(scores.unique()) < 100 or distinct == 1000
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    expected = average_precision_score(labels, scores)
    assert found["average_precision"] == pytest.approx(expected, abs=1e-9)


def test_auc_and_average_precision_need_both_classes_and_tables_alone_have_them():
    logits, labels = torch.randn(1, 20, 2), torch.zeros(20, dtype=torch.int64)
    for one_class in (labels, labels + 1):
        found = evaluate(Predictions.of(logits), one_class, 10, stochastic=False, ranked=True)
        assert found["auc"] is None and found["average_precision"] is None
    found = evaluate(Predictions.of(logits), labels, 10, stochastic=False)
    assert tuple(found) == METRICS


def test_empty_bins_do_not_count():
    confidence = torch.tensor([0.95, 0.95, 0.25])
    correct = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    ece, mace = calibration_errors(confidence, correct, 10)
    assert mace.item() == pytest.approx((0.45 + 0.25) / 2)
    assert ece.item() == pytest.approx((2 * 0.45 + 0.25) / 3)


def test_perfect_and_certain():
    logits = torch.full((1, 4, 3), -100.0)
    labels = torch.tensor([0, 1, 2, 0])
    logits[0, torch.arange(4), labels] = 100.0
    found = evaluate(Predictions.of(logits), labels, 10, stochastic=False)
    assert found["mutual_information"] is None
    assert found["accuracy"] == 1
    assert all(found[name] == pytest.approx(0, abs=1e-6) for name in METRICS[1:-1])


def test_mutual_information_is_zero_when_samples_agree_and_log_two_when_they_contradict():
    labels = torch.tensor([0])
    agreeing = torch.tensor([[[1.0, 2.0]], [[1.0, 2.0]]])
    assert evaluate(Predictions.of(agreeing), labels, 10, True)["mutual_information"] < 1e-6
    contradicting = torch.tensor([[[200.0, 0.0]], [[0.0, 200.0]]])
    found = evaluate(Predictions.of(contradicting), labels, 10, True)
    assert found["mutual_information"] == pytest.approx(np.log(2), rel=1e-5)
    assert found["entropy"] == pytest.approx(np.log(2), rel=1e-5)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[[1000.0, 0.0]], [[900.0, 0.0]]])
    found = evaluate(Predictions.of(logits), torch.tensor([1]), 10, True)
    assert all(np.isfinite(value) for value in found.values())
    assert found["nll"] == pytest.approx(900 + np.log(2))
