"""Published networks that are not made of slots: what sets each apart, and that each learns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from support.sampling import sampled

from unet_bench import build_model
from unet_bench.errors import InvalidSize, Unsupported
from unet_bench.measure.cost import cost
from unet_bench.networks.contracts import Outputs

NAMES = ["segnet", "u2net", "u2net-small", "unext", "transunet", "swin-unet"]
TINY = 0.0625


@pytest.mark.parametrize("name", sampled(NAMES, ("segnet", "unext")))
def test_learns_one_batch(name) -> None:
    torch.manual_seed(0)
    model = build_model(
        name, in_channels=1, classes=2, image_size=(64, 64), width_scale=TINY
    ).train()
    image = torch.randn(2, 1, 64, 64)
    wanted = (F.avg_pool2d(image, 9, 1, 4) > 0).long()[:, 0]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(10):
        output = model(image)
        maps = (
            [output.main, *(side for _, side in output.aux)]
            if isinstance(output, Outputs)
            else [output]
        )
        loss = torch.stack([F.cross_entropy(logits, wanted) for logits in maps]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-2:]) < 0.95 * sum(losses[:2])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [{"width_scale": 0.01}, {"width_scale": 0.3}])
def test_any_width_works(name, changes) -> None:
    with torch.device("meta"), torch.no_grad():
        model = build_model(name, in_channels=2, classes=3, image_size=(64, 64), **changes).eval()
        assert model(torch.zeros(1, 2, 64, 32)).shape == (1, 3, 64, 32)


@pytest.mark.parametrize("name", NAMES)
def test_refuses_volumes(name) -> None:
    with pytest.raises(Unsupported, match="is a network for images alone"):
        build_model(name, in_channels=1, classes=2, dims=3)


@pytest.mark.parametrize(
    ("name", "step", "near"),
    [("unext", 32, "64, 96"), ("transunet", 16, "64, 80"), ("swin-unet", 32, "64, 96")],
)
def test_refuses_sides_between_its_steps(name, step, near) -> None:
    model = build_model(name, width_scale=TINY)
    with pytest.raises(InvalidSize, match=rf"multiples of {step}, got 65×64; nearest: {near}$"):
        model(torch.zeros(1, 3, 65, 64))


def test_u2net_takes_any_size_and_trains_on_its_fused_map_and_six_side_maps() -> None:
    model = build_model("u2net-small", in_channels=1, classes=3, width_scale=TINY)
    image = torch.randn(2, 1, 45, 50)
    outputs = model.train()(image)
    assert [(weight, side.shape) for weight, side in outputs.aux] == 6 * [(1, (2, 3, 45, 50))]
    sides = torch.cat([side for _, side in outputs.aux], 1)
    torch.testing.assert_close(outputs.main, F.conv2d(sides, model.fuse.weight, model.fuse.bias))
    assert model.eval()(image).shape == (2, 3, 45, 50)


def test_unext_shifts_fifths_of_the_channels_as_rolling_a_padded_map_does() -> None:
    from unet_bench_zoo.unext import shifted

    x = torch.randn(1, 10, 6, 7)
    for dim in (2, 3):
        rolled = [
            part.roll(by, dim)
            for part, by in zip(F.pad(x, (2, 2, 2, 2)).chunk(5, 1), range(-2, 3), strict=True)
        ]
        assert torch.equal(shifted(x, dim), torch.cat(rolled, 1)[:, :, 2:-2, 2:-2])


def test_transunet_has_a_position_for_each_patch_of_the_images_it_is_for() -> None:
    with torch.device("meta"):
        model = build_model("transunet", in_channels=3, classes=9, image_size=(224, 224))
    found = cost(model, 3, (224, 224))  # as the authors' code with n_classes=9 at 224
    assert (found["params"], found["macs"]) == (105277081, 29225730048)


def test_transunet_interpolates_positions_at_other_sizes() -> None:
    model = build_model("transunet", in_channels=1, image_size=(32, 32), width_scale=TINY).eval()
    image = torch.randn(1, 1, 64, 48)
    before = model(image)
    model.positions.data.normal_()
    assert before.shape == (1, 2, 64, 48)
    assert not torch.allclose(before, model(image))


def test_transunets_unpadded_pool_loses_a_pixel_that_its_skip_fills_with_zeros() -> None:
    from unet_bench_zoo.transunet import ResNet

    half, quarter, eighth, sixteenth = ResNet(1, 4).eval()(torch.rand(1, 1, 64, 96))
    assert [tuple(x.shape[2:]) for x in (half, quarter, eighth, sixteenth)] == [
        (32, 48),
        (16, 24),
        (8, 12),
        (4, 6),
    ]
    assert not quarter[:, :, -1].any()
    assert not quarter[..., -1].any()
    assert quarter[:, :, -2, :-1].any()


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("size", [(14, 14), (10, 16), (3, 9), (2, 2)])
def test_windows_do_not_look_at_their_padding(shift, size) -> None:
    from unet_bench_zoo.swin_unet import WindowAttention

    attention = WindowAttention(6, 3, shift=shift)
    found = attention(torch.ones(2, 6, *size))  # an average of equal pixels: any other would show
    torch.testing.assert_close(found, found[:1, :, :1, :1].expand_as(found))


def test_windows_are_shifted_and_what_that_joins_stays_apart() -> None:
    from unet_bench_zoo.swin_unet import WindowAttention

    def looks_at(shift: int, row: int) -> list[int]:
        image = torch.randn(1, 6, 14, 14, requires_grad=True)
        WindowAttention(6, 3, shift=shift)(image)[0, :, row, 5].sum().backward()
        return image.grad.abs().sum((0, 1, 3)).nonzero().flatten().tolist()

    assert looks_at(0, 5) == list(range(7))
    assert looks_at(3, 5) == list(range(3, 10))
    assert looks_at(3, 1) == [0, 1, 2]
    assert looks_at(3, 12) == [10, 11, 12, 13]
