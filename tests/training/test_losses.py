"""The Hinton loss against a float64 numpy reference, its identities and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deploycompress.errors import UsageError
from deploycompress.training.losses import IGNORED, cross_entropy, hinton, soft_targets

LOGITS = arrays(np.float32, (4, 7), elements=st.floats(-20, 20, width=32))


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def reference(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    """T^2 mean_b sum_c p_t (log p_t - log p_s), written out in float64."""
    p_t = softmax(teacher.astype(np.float64) / temperature)
    p_s = softmax(student.astype(np.float64) / temperature)
    return float(temperature**2 * (p_t * (np.log(p_t) - np.log(p_s))).sum(axis=-1).mean())


# float32 log-softmax of |z| <= 20 errs by up to 40 * 2^-24 = 2.4e-6 a class; weighted by p (sum 1), times T^2.
@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
@settings(max_examples=30)
@given(student=LOGITS, teacher=LOGITS)
def test_loss_matches_float64_reference(temperature: float, student: np.ndarray, teacher: np.ndarray) -> None:
    value = soft_targets(torch.from_numpy(student), torch.from_numpy(teacher), temperature).item()
    expected = reference(student, teacher, temperature)
    assert value == pytest.approx(expected, rel=1e-5, abs=3e-6 * temperature**2)
    assert value >= -3e-6 * temperature**2


@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
@settings(max_examples=30)
@given(logits=LOGITS, shift=st.floats(-5, 5, width=32))
def test_equal_logits_up_to_a_constant_give_zero(temperature: float, logits: np.ndarray, shift: float) -> None:
    z = torch.from_numpy(logits)
    assert soft_targets(z, z, temperature).item() == 0.0
    assert abs(soft_targets(z + shift, z, temperature).item()) < 3e-6 * temperature**2


@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
def test_gradient_is_t_over_b_times_difference_of_softmaxes(temperature: float) -> None:
    generator = torch.Generator().manual_seed(3)
    student = torch.randn(5, 10, generator=generator, requires_grad=True)
    teacher = torch.randn(5, 10, generator=generator)
    soft_targets(student, teacher, temperature).backward()
    s, t = student.detach().double().numpy(), teacher.double().numpy()
    expected = temperature / 5 * (softmax(s / temperature) - softmax(t / temperature))
    # float32 arithmetic on numbers below 1, times T <= 8.
    np.testing.assert_allclose(student.grad, expected, rtol=0, atol=1e-6)


def test_gradient_size_does_not_depend_on_temperature() -> None:
    generator = torch.Generator().manual_seed(4)
    student, teacher = torch.randn(64, 10, generator=generator), torch.randn(64, 10, generator=generator)
    norms = []
    for temperature in (2.0, 4.0, 8.0, 16.0):
        leaf = student.clone().requires_grad_()
        soft_targets(leaf, teacher, temperature).backward()
        norms.append(leaf.grad.norm().item())
    # The limit T -> inf is (centred z_s - centred z_t) / (C B): sizes agree within 2x, where without T^2 they span 64x.
    assert max(norms) / min(norms) < 2


def test_high_temperature_limit_is_logit_regression() -> None:
    generator = torch.Generator().manual_seed(5)
    student = torch.randn(6, 10, generator=generator, dtype=torch.float32).requires_grad_()
    teacher = torch.randn(6, 10, generator=generator)
    soft_targets(student, teacher, 100.0).backward()
    s, t = student.detach(), teacher
    limit = ((s - s.mean(1, keepdim=True)) - (t - t.mean(1, keepdim=True))) / (10 * 6)
    # Next term of the expansion is of relative order |z| / T = 3 %.
    assert (student.grad - limit).abs().max() < 0.05 * limit.abs().max()


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = torch.randn(2, 3, requires_grad=True)
    soft_targets(torch.randn(2, 3, requires_grad=True), teacher, 2.0).backward()
    assert teacher.grad is None


def test_classes_do_not_dilute_the_loss() -> None:
    student, teacher = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    wide = torch.full((1, 998), -50.0)
    narrow = soft_targets(student, teacher, 1.0).item()
    padded = soft_targets(torch.cat([student, wide], 1), torch.cat([teacher, wide], 1), 1.0).item()
    assert padded == pytest.approx(narrow, rel=1e-5)


def test_masked_positions_do_not_count() -> None:
    generator = torch.Generator().manual_seed(6)
    student, teacher = torch.randn(2, 5, 4, generator=generator), torch.randn(2, 5, 4, generator=generator)
    labels = torch.tensor([[1, 2, IGNORED, IGNORED, IGNORED], [0, 3, 1, IGNORED, IGNORED]])
    valid = labels != IGNORED
    whole = hinton(student, teacher, labels, temperature=2.0, alpha=0.7)
    packed = hinton(student[valid], teacher[valid], labels[valid], temperature=2.0, alpha=0.7)
    assert whole.item() == pytest.approx(packed.item(), rel=1e-6)
    student[~valid], teacher[~valid] = 1e3, -1e3
    assert hinton(student, teacher, labels, temperature=2.0, alpha=0.7).item() == whole.item()


def test_alpha_mixes_the_two_terms() -> None:
    generator = torch.Generator().manual_seed(7)
    student, teacher = torch.randn(8, 3, generator=generator), torch.randn(8, 3, generator=generator)
    labels = torch.randint(0, 3, (8,), generator=generator)
    hard = torch.nn.functional.cross_entropy(student, labels).item()
    soft = reference(student.numpy(), teacher.numpy(), 4.0)
    mixed = hinton(student, teacher, labels, temperature=4.0, alpha=0.25).item()
    assert mixed == pytest.approx(0.75 * hard + 0.25 * soft, rel=1e-5)


def test_alpha_one_does_not_look_at_labels() -> None:
    student, teacher = torch.randn(8, 3), torch.randn(8, 3)
    one = hinton(student, teacher, torch.zeros(8, dtype=torch.long), temperature=2.0, alpha=1.0)
    other = hinton(student, teacher, torch.full((8,), 2), temperature=2.0, alpha=1.0)
    assert one.item() == other.item()


def test_half_precision_logits_are_computed_in_float32() -> None:
    student = torch.tensor([[60000.0, -60000.0]], dtype=torch.float16)
    assert torch.isfinite(soft_targets(student, -student, 1.0))


def test_different_classes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"the teacher has 12 classes, the student 10; .*same classes"):
        soft_targets(torch.zeros(2, 10), torch.zeros(2, 12), 2.0)


def test_different_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match="differ in shape"):
        soft_targets(torch.zeros(2, 3, 10), torch.zeros(2, 4, 10), 2.0)


def test_mask_without_valid_position_is_refused() -> None:
    with pytest.raises(UsageError, match="no valid position"):
        soft_targets(torch.zeros(2, 3), torch.zeros(2, 3), 2.0, valid=torch.zeros(2, dtype=torch.bool))


def test_label_beyond_the_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="label 3 is beyond the model's 3 classes"):
        cross_entropy(torch.zeros(2, 3), torch.tensor([0, 3]))


def test_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(UsageError, match=r"logits of shape \(2, 3\) do not match labels of shape \(3,\)"):
        cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1, 2]))
