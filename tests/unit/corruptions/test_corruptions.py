"""Each corruption against what is known of it, and the table over a model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from robustcert.corruptions.digital import cosine_matrix
from robustcert.corruptions.interface import SEVERITIES
from robustcert.corruptions.registry import CORRUPTIONS, corruption_named
from robustcert.corruptions.table import corruption_table
from robustcert.errors import SamplesError, UnknownNameError, UsageError
from robustcert.models.samples import Samples
from robustcert.models.torchscript import load_torchscript
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.models import nets

NOISES = ("gaussian-noise", "shot-noise", "impulse-noise")
CLIPPED = 0.5
"""Mid-grey: noise about it is hardly ever clipped."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(channels=3, height=20, width=28, count=4):
    return torch.rand(count, channels, height, width, generator=generator(7))


def applied(name, severity, inputs, box=UNIT_BOX, seed=0):
    return CORRUPTIONS[name].apply(inputs, severity, box, generator(seed))


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_pictures_of_any_channel_count_stay_in_the_box(name, channels):
    inputs = pictures(channels)
    for severity in SEVERITIES:
        corrupted = applied(name, severity, inputs)
        assert corrupted.shape == inputs.shape
        assert corrupted.dtype == inputs.dtype
        assert 0.0 <= corrupted.min() <= corrupted.max() <= 1.0
        assert not torch.equal(corrupted, inputs)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_box_is_scaled_to_the_unit_box_and_back(name):
    inputs, box = pictures().double(), Box(-3.0, 5.0)
    unit = applied(name, 3, inputs)
    assert torch.allclose(
        applied(name, 3, box.low + box.width * inputs, box), box.low + box.width * unit
    )


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_severity_moves_the_input_further_than_the_one_before(name):
    inputs = 0.25 + 0.5 * pictures(count=16)
    moved = [
        (applied(name, severity, inputs) - inputs).square().mean().item()
        for severity in SEVERITIES
    ]
    assert moved == sorted(moved)
    assert moved[0] > 0.0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_corrupts_alike_and_leaves_the_global_generator_alone(name):
    inputs, state = pictures(), torch.get_rng_state()
    first, second = (applied(name, 2, inputs, seed=5) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    if name in NOISES:
        assert not torch.equal(first, applied(name, 2, inputs, seed=6))


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in NOISES])
def test_a_picture_is_corrupted_alone(name):
    inputs = pictures().double()
    assert torch.allclose(
        applied(name, 4, inputs)[1:2], applied(name, 4, inputs[1:2]), atol=1e-12
    )


@pytest.mark.parametrize("severity", SEVERITIES)
def test_gaussian_noise_has_the_stated_deviation(severity):
    grey = torch.full((1, 3, 100, 100), CLIPPED, dtype=torch.float64)
    strength = CORRUPTIONS["gaussian-noise"].strengths[severity - 1]
    noise = applied("gaussian-noise", severity, grey) - grey
    assert noise.std().item() == pytest.approx(strength, rel=0.1)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_shot_noise_has_the_variance_of_counted_photons(severity):
    grey = torch.full((1, 3, 100, 100), CLIPPED, dtype=torch.float64)
    photons = CORRUPTIONS["shot-noise"].strengths[severity - 1]
    seen = applied("shot-noise", severity, grey)
    assert seen.mean().item() == pytest.approx(CLIPPED, abs=0.01)
    assert seen.var().item() == pytest.approx(CLIPPED / photons, rel=0.15)
    assert torch.allclose((seen * photons).round(), seen * photons, atol=1e-9)


def test_shot_noise_leaves_black_black():
    black = torch.zeros(1, 1, 8, 8)
    assert torch.equal(applied("shot-noise", 5, black), black)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulse_noise_sets_the_stated_share_to_black_and_white(severity):
    grey = torch.full((1, 3, 100, 100), CLIPPED)
    share = CORRUPTIONS["impulse-noise"].strengths[severity - 1]
    seen = applied("impulse-noise", severity, grey)
    for end in (0.0, 1.0):
        assert (seen == end).float().mean().item() == pytest.approx(share / 2, rel=0.2)
    assert ((seen == CLIPPED) | (seen == 0.0) | (seen == 1.0)).all()


@pytest.mark.parametrize("name", ["gaussian-blur", "motion-blur", "pixelate"])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_smoothing_leaves_a_constant_picture_as_it_is(name, severity):
    grey = torch.full((1, 2, 16, 24), 0.3, dtype=torch.float64)
    assert torch.allclose(applied(name, severity, grey), grey, atol=1e-12)


def test_a_blurred_point_has_the_gaussians_variance():
    point = torch.zeros(1, 1, 101, 101, dtype=torch.float64)
    point[..., 50, 50] = 1.0
    seen = applied("gaussian-blur", 5, point)[0, 0]
    places = torch.arange(101, dtype=torch.float64) - 50
    assert seen.sum().item() == pytest.approx(1.0)
    for axis in (0, 1):
        variance = (seen.sum(dim=axis) * places.square()).sum().item()
        assert math.sqrt(variance) == pytest.approx(0.05 * 101, rel=0.02)


def test_motion_blur_spreads_a_point_over_its_streak_and_no_other_row():
    point = torch.zeros(1, 1, 40, 60, dtype=torch.float64)
    point[..., 20, 30] = 1.0
    seen = applied("motion-blur", 5, point)[0, 0]
    streak = 0.3 * 40
    assert seen[20].max().item() == pytest.approx(1.0 / streak)
    assert seen.sum().item() == pytest.approx(1.0)
    assert torch.equal(seen[torch.arange(40) != 20], torch.zeros(39, 60).double())


def test_contrast_keeps_each_channels_mean_and_shrinks_its_deviation():
    inputs = pictures().double()
    seen = applied("contrast", 3, inputs)
    assert torch.allclose(seen.mean(dim=(2, 3)), inputs.mean(dim=(2, 3)))
    assert torch.allclose(seen.std(dim=(2, 3)), 0.4 * inputs.std(dim=(2, 3)))


def test_brightness_adds_the_same_everywhere_and_clips():
    inputs = torch.tensor([0.0, 0.4, 0.9]).reshape(1, 1, 1, 3)
    expected = torch.tensor([0.3, 0.7, 1.0]).reshape(1, 1, 1, 3)
    assert torch.allclose(applied("brightness", 3, inputs), expected)


def test_the_cosine_matrix_is_orthogonal_and_its_first_row_constant():
    matrix = cosine_matrix(torch.float64, torch.device("cpu"))
    assert torch.allclose(matrix @ matrix.T, torch.eye(8, dtype=torch.float64))
    assert torch.allclose(matrix[0], torch.full((8,), 8**-0.5, dtype=torch.float64))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (5, 3), (17, 40)])
def test_block_quantisation_changes_a_picture_by_at_most_half_its_steps(height, width):
    inputs = 0.4 + 0.2 * pictures(1, height, width).double()
    order = torch.arange(8.0, dtype=torch.float64)
    steps = 0.02 * (1.0 + order[:, None] + order[None, :])
    seen = applied("block-quantisation", 1, inputs)
    largest = (steps / 2.0).square().sum().sqrt().item()
    blocks = math.ceil(height / 8) * math.ceil(width / 8)
    changes = (seen - inputs).flatten(1).norm(dim=1)
    assert (changes <= largest * math.sqrt(blocks)).all()


def test_block_quantisation_of_a_constant_block_rounds_its_mean_alone():
    grey = torch.full((1, 1, 8, 8), 0.503, dtype=torch.float64)
    step = 0.16
    mean = round(8 * 0.503 / step) * step / 8
    expected = torch.full_like(grey, mean)
    assert torch.allclose(applied("block-quantisation", 5, grey), expected)


def test_pixelating_leaves_few_values_each_a_mean():
    seen = applied("pixelate", 5, pictures(1, 20, 20, 1))
    assert len(seen.unique()) == 5 * 5


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_tables_take_noise_alone(name):
    row = CORRUPTIONS[name]
    assert (row.refusal((6,)) is None) is (name in NOISES)
    if name not in NOISES:
        with pytest.raises(UsageError, match="pictures"):
            applied(name, 1, torch.rand(4, 6))


@pytest.mark.parametrize("severity", [0, 6])
def test_there_are_five_severities(severity):
    with pytest.raises(UsageError, match="severity"):
        applied("contrast", severity, pictures())


def test_a_box_without_width_and_no_inputs_come_back():
    flat = torch.full((2, 1, 8, 8), 0.5)
    assert torch.equal(applied("gaussian-noise", 5, flat, Box(0.5, 0.5)), flat)
    assert applied("pixelate", 5, flat[:0]).shape == (0, 1, 8, 8)


def bright_or_dark():
    """Class 1 iff the mean of a 1x8x8 picture is above one half."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    net[1].weight.data = torch.stack([torch.full((64,), -1 / 64), torch.ones(64) / 64])
    net[1].bias.data = torch.tensor([0.5, -0.5])
    return load_torchscript(nets.scripted(net), input_shape=(1, 8, 8))


def greys(values):
    inputs = torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    labels = (inputs[:, 0, 0, 0] > 0.5).long()
    return Samples(inputs, labels, "greys", "0" * 64)


def test_the_table_counts_what_each_severity_changes():
    samples = greys([0.05, 0.15, 0.25, 0.35, 0.45, 0.9])
    table = corruption_table(bright_or_dark(), samples, UNIT_BOX, ["brightness"])
    assert table.clean_accuracy == 1.0
    assert [cell.right for cell in table.cells] == [5, 4, 3, 2, 1]
    assert table.mean_accuracy == pytest.approx(15 / 30)
    assert table.accuracy_of("brightness") == pytest.approx(0.5)


def test_what_keeps_the_mean_leaves_a_model_of_means_right():
    samples = greys([0.1, 0.3, 0.7, 0.9])
    names = ["gaussian-blur", "motion-blur", "contrast", "pixelate"]
    table = corruption_table(bright_or_dark(), samples, UNIT_BOX, names)
    assert table.mean_accuracy == 1.0
    assert table.corruptions == tuple(names)


def test_the_same_seed_gives_the_same_table():
    samples = greys([0.45, 0.48, 0.49, 0.51, 0.52, 0.55] * 4)
    first, second, other = (
        corruption_table(bright_or_dark(), samples, UNIT_BOX, NOISES, seed=seed)
        for seed in (3, 3, 4)
    )
    assert first == second
    assert first != other


def test_pictures_get_every_corruption_and_tables_say_what_was_left_out():
    samples = greys([0.1, 0.9])
    everything = corruption_table(bright_or_dark(), samples, UNIT_BOX)
    assert everything.corruptions == tuple(CORRUPTIONS)
    assert len(everything.cells) == len(CORRUPTIONS) * len(SEVERITIES)
    net = nets.settled(nn.Sequential(nn.Linear(6, 3)))
    model = load_torchscript(nets.scripted(net), input_shape=(6,))
    rows = Samples(torch.rand(5, 6), torch.zeros(5).long(), "rows", "0" * 64)
    table = corruption_table(model, rows, UNIT_BOX)
    assert table.corruptions == NOISES
    assert {gap.corruption for gap in table.refused} == {*CORRUPTIONS} - {*NOISES}
    with pytest.raises(UsageError, match="no corruption applies"):
        corruption_table(model, rows, UNIT_BOX, ["contrast"])


def test_progress_is_told_for_every_cell():
    heard = []
    corruption_table(
        bright_or_dark(),
        greys([0.1, 0.9]),
        UNIT_BOX,
        ["contrast"],
        listener=heard.append,
    )
    assert [progress.done for progress in heard] == [1, 2, 3, 4, 5]
    assert {progress.total for progress in heard} == {5}


def test_unknown_names_and_samples_that_do_not_fit_are_refused():
    with pytest.raises(UnknownNameError, match="gaussian-noise"):
        corruption_named("fog")
    with pytest.raises(SamplesError, match="outside the box"):
        corruption_table(bright_or_dark(), greys([0.1, 0.9]), Box(0.0, 0.5))


@pytest.mark.data
def test_a_trained_net_loses_accuracy_with_severity(trained):
    data = (trained / "models" / "mnist_conv_adv.ts.pt").read_bytes()
    model = load_torchscript(data, input_shape=(1, 28, 28))
    with np.load(trained / "samples" / "mnist_test.npz") as file:
        inputs = torch.from_numpy(file["inputs"][:100]).float() / 255.0
        labels = torch.from_numpy(file["labels"][:100]).long()
    samples = Samples(inputs.reshape(-1, 1, 28, 28), labels, "mnist", "0" * 64)
    table = corruption_table(model, samples, UNIT_BOX)
    assert table.mean_accuracy < table.clean_accuracy
    low, high = table.mean_interval
    assert low < table.mean_accuracy < high
