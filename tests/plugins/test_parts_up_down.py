"""Up-sampling, down-sampling and bottleneck parts compute what their papers say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench import build_model
from unet_bench.errors import InvalidChoice
from unet_bench.measure.cost import cost
from unet_bench.networks.contracts import Place
from unet_bench.registry.plugins import load

PLUGINS = ("upsampling", "downsampling", "bottlenecks")
SIZES = {2: (6, 8), 3: (4, 6, 2)}
REGISTRY = load().checked()
PARTS = [
    (slot, entry.name)
    for slot in ("up", "down", "bottleneck")
    for entry in REGISTRY.entries(slot)
    if entry.provider.plugin in PLUGINS
]
VARIANTS = [variant for variant in REGISTRY.variants().values() if variant.provider in PLUGINS]


def made(
    slot: str, name: str, in_channels: int = 8, out_channels: int = 8, **changes: Any
) -> nn.Module:
    torch.manual_seed(0)
    place = Place(in_channels=in_channels, out_channels=out_channels, **changes)
    part: nn.Module = REGISTRY.find(slot, name).load()(place)
    return part.eval()


def a_map(channels: int = 8, dims: int = 2) -> Tensor:
    return torch.randn(2, channels, *SIZES[dims], generator=torch.Generator().manual_seed(1))


def parameters(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def bilinear(x: Tensor) -> Tensor:
    return F.interpolate(
        x, scale_factor=2, mode="bilinear" if x.ndim == 4 else "trilinear", align_corners=False
    )


def nearest(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, **how: Any) -> Tensor:
    return (F.conv2d if x.ndim == 4 else F.conv3d)(x, weight, bias, **how)


@pytest.mark.parametrize("dims", [2, 3])
def test_pixel_shuffle_begins_as_nearest_after_a_convolution(dims: int) -> None:
    part, x = made("up", "pixel-shuffle", 8, 4, dims=dims), a_map(dims=dims)
    first = part.conv.weight[:: 2**dims]  # of each group of channels that become one
    torch.testing.assert_close(part(x), nearest(convolve(x, first, padding=1)))


def test_a_shuffle_of_volumes_is_torchs_of_images() -> None:
    from unet_bench_upsampling.shuffle import shuffled

    image = torch.randn(2, 8, 3, 5)
    channels = image.unflatten(1, (2, 1, 4))  # of 2 groups: depth, then row and column
    volume = torch.cat([channels, channels + 1], dim=2).flatten(1, 3).unsqueeze(2)  # one slice
    pixels = F.pixel_shuffle(image, 2)
    assert torch.equal(shuffled(volume), torch.stack([pixels, pixels + 1], dim=2))


def test_carafe_with_uniform_kernels_is_the_mean_of_nearest_neighbours() -> None:
    part, x = made("up", "carafe"), a_map()
    nn.init.zeros_(part[1].foretell.weight)
    torch.testing.assert_close(part(x), nearest(F.avg_pool2d(x, 5, stride=1, padding=2)))


def test_carafe_takes_for_each_pixel_the_neighbour_that_its_kernel_names() -> None:
    part, x = made("up", "carafe"), a_map()
    nn.init.zeros_(part[1].foretell.weight)
    with torch.no_grad():
        logits = part[1].foretell.bias.view(
            5, 5, 2, 2
        )  # neighbour's row and column, output pixel's row and column
        logits[1, 4, 0, 1] = 1e3  # one row up, two columns right
        logits[2, 2, 1, 0] = 1e3  # itself
    out = part(x)
    torch.testing.assert_close(out[..., 2::2, 1:-4:2], x[..., :-1, 2:])
    torch.testing.assert_close(out[..., 1::2, ::2], x)


def test_dysample_without_offsets_is_bilinear() -> None:
    part, x = made("up", "dysample"), a_map()
    nn.init.zeros_(part[1].offset.weight)
    torch.testing.assert_close(part(x), bilinear(x))


def test_dysample_moves_by_a_quarter_pixel_per_unit_of_offset() -> None:
    part, x = made("up", "dysample"), a_map(1).expand(-1, 8, -1, -1)
    nn.init.zeros_(part[1].offset.weight)
    with torch.no_grad():
        along = part[1].offset.bias.view(4, 2, 4)  # group, axis, output pixel
        along[0, 0] = 4  # first group: one input pixel down
        along[1, 1] = -4  # second group: one to the left
    regular, out = bilinear(x), part(x)
    torch.testing.assert_close(out[:, :2, :-2], regular[:, :2, 2:])
    torch.testing.assert_close(out[:, 2:4, :, 2:], regular[:, 2:4, :, :-2])
    torch.testing.assert_close(out[:, 4:], regular[:, 4:])


@pytest.mark.parametrize("channels", [64, 256])
def test_dynamic_up_sampling_has_the_published_parameters(channels: int) -> None:
    with torch.device("meta"):
        carafe, dysample = (made("up", name, channels, channels) for name in ("carafe", "dysample"))
    assert parameters(dysample) == 32 * (channels + 1)
    assert parameters(carafe) == 64 * (channels + 1) + 100 * (9 * 64 + 1)


def test_dysample_refuses_channels_that_its_groups_do_not_divide() -> None:
    with pytest.raises(InvalidChoice, match=r"10 channels.*multiple of 4, such as 8"):
        made("up", "dysample", 20, 10)
    with pytest.raises(InvalidChoice, match="such as 4"):
        made("up", "dysample", 2, 1)


@pytest.mark.parametrize(
    "name", ["nearest-1x1", "bilinear-1x1", "1x1-bilinear", "pixel-shuffle", "carafe", "dysample"]
)
def test_convolutions_that_no_norm_follows_keep_their_biases(name: str) -> None:
    convs = [
        part for part in made("up", name, 8, 4, bias=False).modules() if isinstance(part, nn.Conv2d)
    ]
    assert convs
    assert all(conv.bias is not None for conv in convs)


def test_segresnets_up_sampling_has_no_bias() -> None:
    with_bias, without = made("up", "1x1-bilinear", 8, 4), made("up", "1x1-bilinear-no-bias", 8, 4)
    assert parameters(with_bias) - parameters(without) == 4
    without.load_state_dict({"0.weight": with_bias[0].weight})  # biases begin as zero
    torch.testing.assert_close(with_bias(a_map()), without(a_map()))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_1x1_convolution_before_the_interpolation_is_the_same_at_a_fraction_of_the_work(
    dims: int,
) -> None:
    before, after = (made("up", name, 8, 4, dims=dims) for name in ("1x1-bilinear", "bilinear-1x1"))
    after.load_state_dict(
        {name.replace("0.", "1."): tensor for name, tensor in before.state_dict().items()}
    )
    x = a_map(dims=dims)
    torch.testing.assert_close(before(x), after(x))
    assert cost(after, 8, SIZES[dims])["macs"] == 2**dims * cost(before, 8, SIZES[dims])["macs"] > 0


def test_a_blur_of_three_taps_after_nearest_is_bilinear_and_five_taps_are_smoother() -> None:
    from unet_bench_upsampling.parts import blur_3

    x = a_map()
    torch.testing.assert_close(nn.Sequential(*blur_3(2))(nearest(x)), bilinear(x))
    impulse = torch.zeros(1, 1, 9, 9)
    impulse[..., 4, 4] = 1
    taps = torch.tensor([1.0, 5, 10, 10, 5, 1]) / 16  # 1 1 blurred by 1 4 6 4 1
    found = made("up", "nearest-blur", 1)(impulse)[0, 0, 6:12, 6:12]
    torch.testing.assert_close(found, taps.outer(taps))


@pytest.mark.parametrize("dims", [2, 3])
def test_transpose_blur_smooths_what_the_transposed_convolution_returns(dims: int) -> None:
    part, x = made("up", "transpose-blur", 8, 4, dims=dims), a_map(dims=dims)
    smoothed = part[0](x)
    for axis in range(2, x.ndim):
        first, last = smoothed.narrow(axis, 0, 1), smoothed.narrow(axis, -1, 1)
        below = torch.cat([first, smoothed], axis).narrow(axis, 0, smoothed.shape[axis])
        above = torch.cat([smoothed, last], axis).narrow(axis, 1, smoothed.shape[axis])
        smoothed = (below + 2 * smoothed + above) / 4
    torch.testing.assert_close(part(x), smoothed)


@pytest.mark.parametrize("dims", [2, 3])
def test_haar_keeps_the_energy(dims: int) -> None:
    part, x = made("down", "haar", dims=dims), a_map(dims=dims)
    bands = part.bands(x)
    assert bands.shape == (2, 8 * 2**dims, *(side // 2 for side in SIZES[dims]))
    torch.testing.assert_close(bands.square().sum(), x.square().sum())
    pool = F.avg_pool2d if dims == 2 else F.avg_pool3d
    torch.testing.assert_close(bands[:, :: 2**dims], pool(x, 2) * 2 ** (dims / 2))
    filters = part.filters.view(8, 2**dims, -1)
    torch.testing.assert_close(filters @ filters.mT, torch.eye(2**dims).expand(8, -1, -1))


def test_haar_filters_are_no_parameters_and_not_saved() -> None:
    part = made("down", "haar")
    assert parameters(part) == 8 * 4 * 8 + 8 + 2 * 8  # 1×1 convolution, batch norm
    assert "filters" not in part.state_dict()


def test_space_to_depth_is_a_shuffle_and_a_1x1_convolution() -> None:
    part, x = made("down", "space-to-depth"), a_map()
    conv = part[0]
    mixed = F.conv2d(F.pixel_unshuffle(x, 2), conv.weight.reshape(8, 32, 1, 1), conv.bias)
    torch.testing.assert_close(conv(x), mixed)


def test_space_to_depth_can_be_undone() -> None:
    conv, x = made("down", "space-to-depth", 4, 16)[0], a_map(4)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(16).view(16, 4, 2, 2))
    assert torch.equal(F.pixel_shuffle(conv(x), 2), x)


@pytest.mark.parametrize("dims", [2, 3])
def test_blur_pool_of_a_constant_is_the_constant(dims: int) -> None:
    constant = torch.full((1, 8, *SIZES[dims]), 0.7)
    part = made("down", "blur-pool", dims=dims)
    torch.testing.assert_close(
        part(constant), torch.full((1, 8, *(side // 2 for side in SIZES[dims])), 0.7)
    )


def test_blur_pool_is_a_dense_max_pool_blurred_and_halved() -> None:
    x = a_map()
    taps = torch.tensor([1.0, 2, 1]) / 4
    dense = F.max_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 2, stride=1)
    expected = F.conv2d(dense, taps.outer(taps).expand(8, 1, 3, 3), stride=2, groups=8)
    torch.testing.assert_close(made("down", "blur-pool")(x), expected)


def test_blur_pool_changes_less_when_the_image_is_shifted() -> None:
    x = a_map(1)[:1].repeat(1, 8, 4, 4)
    blurred, sharp = made("down", "blur-pool"), nn.MaxPool2d(2)
    shifted = x.roll(1, dims=3)
    change = [float((pool(x) - pool(shifted)).std() / pool(x).std()) for pool in (blurred, sharp)]
    assert change[0] < 0.8 * change[1]


@pytest.mark.parametrize("name", ["avg-pool", "blur-pool", "space-to-depth", "haar"])
@pytest.mark.parametrize("dims", [2, 3])
def test_an_odd_last_row_is_dropped(name: str, dims: int) -> None:
    part = made("down", name, dims=dims, norm="none")
    odd = torch.randn(1, 8, *(side + 1 for side in SIZES[dims]))
    assert part(odd).shape[2:] == tuple(side // 2 for side in SIZES[dims])


def test_aspp_reaches_as_far_in_the_image_at_every_level() -> None:
    for level, rates in ((3, (12, 24, 36)), (4, (6, 12, 18)), (5, (3, 6, 9)), (8, (1, 1, 1))):
        part = made("bottleneck", "aspp", level=level)
        assert [branch[0].dilation[0] for branch in part.far] == list(rates)


def test_aspp_sees_the_whole_map_and_keeps_its_size_without_padding() -> None:
    part, x = made("bottleneck", "aspp", 16, 16, level=4, padding="valid"), a_map(16)
    nn.init.ones_(part.mean[0].weight)
    x = x.abs()
    other = x.clone()
    other[..., -1, -1] += 10
    moved = (part(other) - part(x)).abs().amax(1)
    assert moved.shape[1:] == SIZES[2]
    assert bool((moved > 0).all())


def test_aspp_trains_on_one_image_of_a_few_pixels() -> None:
    part = made("bottleneck", "aspp", 16, 16, level=4).train()
    assert bool(part(torch.randn(1, 16, 2, 1)).isfinite().all())


def test_dilated_sums_a_cascade() -> None:
    part, x = made("bottleneck", "dilated", norm="none"), a_map()
    total, last = x, x
    for rate, branch in zip((1, 2, 4, 8), part.convs, strict=True):
        last = F.relu(F.conv2d(last, branch[0].weight, branch[0].bias, padding=rate, dilation=rate))
        total = total + last
    torch.testing.assert_close(part(x), total)


@pytest.mark.parametrize(("channels", "heads"), [(8, 1), (64, 1), (200, 2), (320, 5), (1024, 16)])
def test_attention_has_heads_that_divide_the_channels(channels: int, heads: int) -> None:
    with torch.device("meta"):
        assert made("bottleneck", "transformer", channels, channels).heads == heads


def test_attention_is_torchs_transformer_layer_after_its_positions() -> None:
    part, x = made("bottleneck", "transformer", 128, 128), a_map(128)
    layer = nn.TransformerEncoderLayer(
        128, 2, 512, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    own = part.state_dict()
    theirs = {
        "self_attn.in_proj_weight": own["qkv.weight"],
        "self_attn.in_proj_bias": own["qkv.bias"],
        **{f"self_attn.out_proj.{kind}": own[f"out.{kind}"] for kind in ("weight", "bias")},
        **{f"norm1.{kind}": own[f"norm.{kind}"] for kind in ("weight", "bias")},
        **{f"norm2.{kind}": own[f"mlp.0.{kind}"] for kind in ("weight", "bias")},
        **{f"linear1.{kind}": own[f"mlp.1.{kind}"] for kind in ("weight", "bias")},
        **{f"linear2.{kind}": own[f"mlp.3.{kind}"] for kind in ("weight", "bias")},
    }
    layer.load_state_dict(theirs)
    tokens = (x + part.positions(x)).flatten(2).transpose(1, 2)
    expected = layer(tokens).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(part(x), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("norm", ["none", "batch", "instance", "group", "layer"])
def test_non_local_begins_as_the_map_itself(norm: str) -> None:
    part, x = made("bottleneck", "non-local", norm=norm), a_map()
    assert torch.equal(part(x), x)
    assert torch.equal(part.train()(x), x)


def test_non_local_is_the_embedded_gaussian() -> None:
    part, x = made("bottleneck", "non-local", norm="none"), a_map()
    nn.init.normal_(part.conv.weight)
    query, key, value = part.embed(x).flatten(2).chunk(3, dim=1)  # N C' L
    weights = (query.mT @ key / 2).softmax(-1)  # √4
    mixed = (value @ weights.mT).reshape(2, 4, *SIZES[2])
    torch.testing.assert_close(part(x), x + part.conv(mixed))


def test_every_part_has_a_variant_that_differs_from_the_baseline_in_it_alone() -> None:
    baseline = dict(REGISTRY.variants()["unet"].choices.items())
    changes = [
        {name: value for name, value in variant.choices.items() if value != baseline[name]}
        for variant in VARIANTS
    ]
    for slot, name in PARTS:
        assert {slot: name} in changes


@pytest.mark.slow
@pytest.mark.parametrize("name", [variant.name for variant in VARIANTS])
def test_cost_on_meta_is_the_cost_of_the_real_network(name: str) -> None:
    with torch.device("meta"):
        foreseen = cost(build_model(name, width_scale=0.125), 3, (32, 32))
    assert foreseen == cost(build_model(name, width_scale=0.125), 3, (32, 32))
    assert foreseen["macs"] > 0


def test_macs_count_the_products_of_attention_and_reassembly() -> None:
    pixels, channels = 48, 8
    layer = 12 * channels**2 * pixels + 9 * channels * pixels + 2 * channels * pixels**2
    assert cost(made("bottleneck", "transformer"), channels, SIZES[2])["macs"] == layer
    carafe = (64 * channels + 9 * 64 * 100 + 25 * 4 * channels) * pixels
    assert cost(made("up", "carafe"), channels, SIZES[2])["macs"] == carafe
