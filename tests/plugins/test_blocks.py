"""Blocks, and the published networks that are made of them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench import build_model
from unet_bench.errors import InvalidChoice
from unet_bench.networks.choices import FIELDS
from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import CONV, conv_norm_act, crop
from unet_bench.registry.registry import Registry
from unet_bench_blocks.attentive import Cbam, SqueezeExcite
from unet_bench_blocks.dense import Dense, MultiRes
from unet_bench_blocks.large_kernel import ConvNeXt, grouped_fusion
from unet_bench_blocks.mobile import GhostModule, InvertedResidual
from unet_bench_blocks.residual import Recurrent, Residual, preact_residual, residual_d
from unet_bench_classic.heads import conv_1x1_norm
from unet_bench_upsampling.transposed import ResizedTranspose
from unet_bench_zoo.resunet_plus_plus import AtrousPyramid, DecoderGate

BLOCKS = (
    *(
        "residual",
        "preact-residual",
        "preact-residual-3x3",
        "residual-d",
        "residual-after-1x1",
        "residual-after-3x3",
    ),
    *("recurrent:2", "early-doubling", "dense", "multi-res", "se-double-conv", "cbam-double-conv"),
    *("separable", "inverted-residual", "ghost", "convnext", "large-kernel:7"),
)
WHOLE_MAP = (
    "recurrent:2",
    "se-double-conv",
    "cbam-double-conv",
)  # is never unpadded, or weighs by all pixels
UNNORMED = {  # convolutions that no norm follows, and linear maps: they keep their biases
    **{"residual-after-1x1": 1, "residual-after-3x3": 1, "recurrent:2": 1},
    **{"se-double-conv": 2, "cbam-double-conv": 2, "convnext": 3},
}
ORDERS = FIELDS["order"].metadata["values"]


def made(registry: Registry, name: str, place: Place) -> nn.Module:
    module: nn.Module = registry.find("encoder_block", name).load()(place)
    return module.eval()


def randomised(module: nn.Module) -> nn.Module:
    """With norms that do something."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1, 0.2)
            nn.init.normal_(part.bias, 0, 0.2)
    return module


def test_every_registered_block_is_in_this_file(registry: Registry) -> None:
    ours = {e.name for e in registry.entries("encoder_block") if e.provider.plugin == "blocks"}
    assert {name.partition(":")[0] for name in ours} == {name.partition(":")[0] for name in BLOCKS}


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_learns(block: str) -> None:
    torch.manual_seed(0)
    model = build_model(
        encoder_block=block,
        in_channels=1,
        classes=1,
        base_width=8,
        depth=2,
        norm_groups=4,
        down="in-block",
    )
    image = torch.rand(2, 1, 16, 16)
    wanted = (image > 0.5).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(10):
        loss = F.binary_cross_entropy_with_logits(model(image), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("order", ORDERS)
def test_serves_every_order(block: str, order: str, registry: Registry) -> None:
    place = Place(in_channels=4, out_channels=8, order=order, level=1, stride=2)
    module = made(registry, block, place)
    channels = getattr(module, "out_channels", 8)
    assert module(torch.rand(1, 4, 16, 16)).shape == (1, channels, 8, 8)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_follows_norm_act_bias_and_dropout(block: str, act: str, registry: Registry) -> None:
    place = Place(
        in_channels=4, out_channels=8, norm="instance", act=act, bias=False, dropout=0.5, level=1
    )
    parts = list(made(registry, block, place).modules())
    assert any(isinstance(part, nn.InstanceNorm2d) for part in parts)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in parts)
    assert any(isinstance(part, {"relu": nn.ReLU, "gelu": nn.GELU}[act]) for part in parts)
    assert any(isinstance(part, nn.Dropout) and part.p == 0.5 for part in parts)
    biased = [
        part for part in parts if isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None
    ]
    assert len(biased) == UNNORMED.get(block, 0)


@pytest.mark.parametrize("block", [name for name in BLOCKS if name not in WHOLE_MAP])
@pytest.mark.parametrize("stride", [1, 2])
def test_unpadded_looks_at_the_map_alone(block: str, stride: int, registry: Registry) -> None:
    """A pixel of an unpadded block does not change when the map goes on beyond what it saw."""
    torch.manual_seed(0)
    place = Place(
        in_channels=4, out_channels=4, padding="valid", level=1, stride=stride, norm="none"
    )
    module = made(registry, block, place)
    x = torch.rand(1, 4, 32, 32)
    more, some = module(x), module(x[..., :28, :28])
    rows, columns = some.shape[2:]
    torch.testing.assert_close(more[..., :rows, :columns], some)


@pytest.mark.parametrize(
    "block", ["residual", "residual-d", "preact-residual", "dense", "multi-res", "ghost"]
)
def test_unpadded_is_the_middle_of_the_padded_one(block: str, registry: Registry) -> None:
    torch.manual_seed(0)
    place = Place(in_channels=4, out_channels=8, level=1)
    padded = made(registry, block, place)
    unpadded = made(registry, block, place.at(padding="valid"))
    unpadded.load_state_dict(padded.state_dict())
    x = torch.rand(1, 4, 20, 22)
    out = unpadded(x)[..., 2:-2, 2:-2]  # padding reaches as far in
    torch.testing.assert_close(out, crop(padded(x), out.shape[2:]))


@pytest.mark.parametrize("order", ORDERS)
def test_residual_activates_the_sum_unless_activations_come_first(order: str) -> None:
    torch.manual_seed(0)
    block = randomised(Residual(Place(in_channels=4, out_channels=4, order=order, level=1)).eval())
    acts = sum(isinstance(part, nn.ReLU) for part in block.modules())
    assert acts == 2  # as many as convolutions, whatever the order
    x = torch.randn(1, 4, 8, 8)
    out = block(x)
    total = block.convs(x) + x
    assert torch.equal(out, total if order == "norm-act-conv" else total.relu())
    assert bool((out < 0).any()) == (order == "norm-act-conv")
    kinds = [type(part) for unit in block.convs for part in unit]
    named = {"conv": nn.Conv2d, "norm": nn.BatchNorm2d, "act": nn.ReLU}
    wanted = [named[step] for step in (order.split("-") * 2)]
    if order != "norm-act-conv":  # the last activation is the sum's
        del wanted[len(wanted) - 1 - wanted[::-1].index(nn.ReLU)]
    assert kinds == wanted


@pytest.mark.parametrize("block", ["double-conv", *BLOCKS])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_every_pixel_of_a_grey_image_is_seen(
    block: str, order: str, act: str, registry: Registry
) -> None:
    torch.manual_seed(0)
    module = made(
        registry, block, Place(in_channels=1, out_channels=16, image=True, order=order, act=act)
    )
    image = torch.randn(1, 1, 12, 12, requires_grad=True)
    module(image).square().sum().backward()
    assert bool((image.grad != 0).all())


@pytest.mark.parametrize("block", ["separable", "inverted-residual", "ghost", "large-kernel:7"])
def test_blocks_of_depthwise_convolutions_meet_an_image_with_a_plain_one(
    block: str, registry: Registry
) -> None:
    place = Place(in_channels=1, out_channels=8, stride=2)
    first, *others = (
        p for p in made(registry, block, place.at(image=True)).modules() if isinstance(p, nn.Conv2d)
    )
    assert (first.kernel_size, first.groups, first.stride, first.out_channels) == (
        (3, 3),
        1,
        (2, 2),
        8,
    )
    assert any(conv.groups > 1 for conv in others)
    assert all(conv.stride == (1, 1) and conv.in_channels > 1 for conv in others)
    inner = [p for p in made(registry, block, place).modules() if isinstance(p, nn.Conv2d)]
    assert inner[0].in_channels == 1
    assert (inner[0].kernel_size, inner[0].out_channels) != ((3, 3), 8)


def test_only_the_first_convolution_of_a_network_meets_the_image() -> None:
    def places(model: nn.Module) -> list[Place]:
        labels = (getattr(part, "_unet_bench_label", None) for part in model.modules())
        return [
            label.place for label in labels if label is not None and label.slot == "encoder_block"
        ]

    for encoder, seen in (("plain", 1), ("stem", 0)):
        with torch.device("meta"):
            model = build_model(
                encoder=encoder,
                encoder_block="preact-residual",
                blocks_per_level=(2,),
                base_width=4,
            )
        assert [place.image for place in places(model)] == [True] * seen + [False] * (10 - seen)


@pytest.mark.parametrize("order", ORDERS)
def test_a_separable_pair_is_not_split(order: str, registry: Registry) -> None:
    block = made(registry, "separable", Place(in_channels=4, out_channels=8, order=order, level=1))
    kinds = {"conv": [nn.Conv2d, nn.Conv2d], "norm": [nn.BatchNorm2d], "act": [nn.ReLU]}
    for unit in block[:2]:
        assert [type(part) for part in unit] == [
            kind for step in order.split("-") for kind in kinds[step]
        ]
        depthwise, pointwise = (part for part in unit if isinstance(part, nn.Conv2d))
        assert (depthwise.groups, pointwise.kernel_size) == (depthwise.in_channels, (1, 1))


@pytest.mark.parametrize("order", ORDERS)
def test_a_layer_norm_leaves_a_single_channel_as_it_is(order: str) -> None:
    torch.manual_seed(0)
    unit = conv_norm_act(Place(in_channels=1, out_channels=1, norm="layer", order=order), 1, 1)
    x = torch.randn(1, 1, 8, 8)
    before = x.clone()
    assert unit(x).unique().numel() > 1
    assert torch.equal(x, before)


def test_preact_residual_meets_an_image_with_a_convolution() -> None:
    place = Place(in_channels=3, out_channels=8, image=True)
    kinds = [type(part) for unit in preact_residual(place).convs for part in unit]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d]
    inner = preact_residual(place.at(in_channels=8, image=False))  # a second block of that level
    assert [type(part) for part in inner.convs[0]] == [nn.BatchNorm2d, nn.ReLU, nn.Conv2d]


def test_residual_d_pools_where_it_strides_and_convolves_where_channels_change() -> None:
    place = Place(in_channels=4, out_channels=4, level=1)
    assert isinstance(residual_d(place).shortcut, nn.Identity)
    x = torch.rand(1, 4, 6, 7)  # an odd last column is pooled alone
    pooled = torch.cat([F.avg_pool2d(x, 2), F.avg_pool2d(x[..., -1:], (2, 1))], -1)
    torch.testing.assert_close(residual_d(place.at(stride=2)).shortcut(x), pooled)
    strided = residual_d(place.at(stride=2, out_channels=8)).shortcut
    assert [type(p) for p in strided] == [nn.AvgPool2d, nn.Conv2d, nn.BatchNorm2d]
    assert strided[1].kernel_size == (1, 1)
    assert strided[1].bias is None
    assert [type(p) for p in residual_d(place.at(out_channels=8)).shortcut] == [
        nn.Conv2d,
        nn.BatchNorm2d,
    ]


def test_recurrent_runs_shared_weights_on_the_sum_of_input_and_state() -> None:
    torch.manual_seed(0)
    block = randomised(Recurrent(Place(in_channels=3, out_channels=4), 2).eval())
    x = torch.rand(1, 3, 8, 8)
    first = given = block.first(x)
    for conv in block.convs:
        state = conv(given)
        state = conv(given + state)
        given = conv(given + state)
    torch.testing.assert_close(block(x), first + given)
    assert len(block.convs) == 2
    sizes = [
        sum(p.numel() for p in Recurrent(Place(in_channels=3, out_channels=4), t).parameters())
        for t in (1, 5)
    ]
    assert sizes[0] == sizes[1]


def test_dense_convolutions_see_all_maps_before_them() -> None:
    block = Dense(Place(in_channels=6, out_channels=8, convs=3))
    assert [conv[0].in_channels for conv in block.convs] == [6, 10, 14]
    assert [conv[0].out_channels for conv in block.convs] == [4, 4, 4]
    assert (block.transition[0][0].in_channels, block.transition[0][0].kernel_size) == (18, (1, 1))


@pytest.mark.parametrize(
    ("filters", "widths"),
    [(32, (8, 17, 26)), (64, (17, 35, 53)), (512, (142, 284, 427)), (1, (1,) * 3)],
)
def test_multi_res_states_a_sixth_a_third_and_a_half_rounded_down(
    filters: int, widths: tuple[int, ...]
) -> None:
    block = MultiRes(Place(in_channels=3, out_channels=filters))
    assert tuple(conv[0].out_channels for conv in block.convs) == widths
    assert block.out_channels == sum(widths)


def test_squeeze_excite_weighs_channels_by_their_means() -> None:
    torch.manual_seed(0)
    part = SqueezeExcite(Place(in_channels=32, out_channels=32), 32)
    x = torch.randn(2, 32, 4, 6)
    ratio = part(x) / x
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))
    torch.testing.assert_close(ratio[..., 0, 0], part.excite(x.mean((2, 3))).sigmoid())
    assert part.excite[0].out_features == 2


def test_cbam_weighs_channels_then_pixels_by_means_and_maxima() -> None:
    torch.manual_seed(0)
    part = Cbam(Place(in_channels=64, out_channels=64, act="gelu"), 64)  # no unit of it is dead
    x = torch.randn(1, 64, 9, 9)
    channels = (part.channels(x.mean((2, 3))) + part.channels(x.amax((2, 3)))).sigmoid()[
        ..., None, None
    ]
    weighed = x * channels
    seen = torch.stack([weighed.mean(1), weighed.amax(1)], 1)
    torch.testing.assert_close(
        part(x), weighed * F.conv2d(seen, part.pixels.weight, padding=3).sigmoid()
    )


def test_inverted_residual_expands_six_times_and_ends_without_activation() -> None:
    block = InvertedResidual(Place(in_channels=4, out_channels=4, level=1)).eval()
    convs = [part for part in block.modules() if isinstance(part, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.groups) for c in convs] == [
        (4, 24, 1),
        (24, 24, 24),
        (24, 4, 1),
    ]
    assert [type(part) for part in block.convs[2]] == [nn.Conv2d, nn.BatchNorm2d]
    x = torch.rand(1, 4, 8, 8)
    torch.testing.assert_close(block(x), x + block.convs(x))
    assert not InvertedResidual(Place(in_channels=4, out_channels=8, level=1)).passes


def test_inverted_residuals_past_the_first_are_residual(registry: Registry) -> None:
    block = made(
        registry,
        "inverted-residual",
        Place(in_channels=4, out_channels=8, level=1, stride=2, convs=3),
    )
    units = [part for part in block if isinstance(part, InvertedResidual)]
    assert [unit.passes for unit in units] == [False, True, True]
    assert [unit.convs[1][0].stride for unit in units] == [(2, 2), (1, 1), (1, 1)]


def test_ghosts_are_made_of_the_other_half() -> None:
    module = GhostModule(Place(in_channels=4, out_channels=8), 4, 8).eval()
    x = torch.rand(1, 4, 8, 8)
    primary = module.primary(x)
    torch.testing.assert_close(module(x), torch.cat([primary, module.cheap(primary)], 1))
    assert (module.cheap[0].groups, module.cheap[0].out_channels) == (4, 4)


def test_convnext_begins_as_the_identity() -> None:
    block = ConvNeXt(Place(in_channels=8, out_channels=8, level=1, norm="layer", act="gelu")).eval()
    x = torch.rand(1, 8, 9, 9)
    torch.testing.assert_close(block(x), x, atol=1e-3, rtol=0)
    assert not torch.equal(block(x), x)
    kinds = [
        type(part) for part in ConvNeXt(Place(in_channels=3, out_channels=8, image=True)).before
    ]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d]  # an image is not normed
    kinds = [
        type(part)
        for part in ConvNeXt(Place(in_channels=8, out_channels=16, level=1, stride=2)).before
    ]
    assert kinds == [nn.BatchNorm2d, nn.Conv2d]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda r: made(r, "recurrent:0", Place(in_channels=3, out_channels=4)), "1 or more"),
        (lambda r: made(r, "recurrent:two", Place(in_channels=3, out_channels=4)), "recurrent:2"),
        (
            lambda r: made(r, "recurrent:2", Place(in_channels=3, out_channels=4, padding="valid")),
            "padding=zeros",
        ),
        (lambda r: made(r, "large-kernel:4", Place(in_channels=3, out_channels=4)), "odd"),
        (lambda r: made(r, "large-kernel:1", Place(in_channels=3, out_channels=4)), "from 3 on"),
        (lambda r: made(r, "ghost", Place(in_channels=3, out_channels=5)), "such as 6"),
        (
            lambda r: conv_1x1_norm(Place(in_channels=8, out_channels=2, norm="layer")),
            "head=conv-1x1",
        ),
        (lambda r: grouped_fusion(Place(in_channels=3, out_channels=4)), "up_policy=match"),
        (lambda r: r.find("encoder", "large-kernel:3-4").load(), "odd"),
    ],
)
def test_refuses_what_cannot_be(make, words: str, registry: Registry) -> None:
    with pytest.raises(InvalidChoice, match=words):
        make(registry)


def kinds_of(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(
        p.numel()
        for part in model.modules()
        if isinstance(part, kind)
        for p in part.parameters(recurse=False)
    )


def test_unet3d_paper_has_the_papers_parameters_and_sizes() -> None:
    """The paper counts 19,069,955: convolutions with their biases, neither norms nor biases of the
    up-convolutions.
    """
    with torch.device("meta"):
        model = build_model("unet3d-paper", in_channels=3, classes=3)
        image = torch.empty(1, 3, 132, 132, 116)
    total = sum(p.numel() for p in model.parameters())
    ups = [part for part in model.modules() if isinstance(part, nn.ConvTranspose3d)]
    assert [up.out_channels for up in ups] == [512, 256, 128]
    lifted = sum(up.bias.numel() for up in ups)
    assert total - kinds_of(model, nn.BatchNorm3d) - lifted == 19_069_955
    assert model.eval()(image).shape == (1, 3, 44, 44, 28)


def test_resunet_has_the_papers_parameters() -> None:
    """The paper states 7.8 M: that is its convolutions without shortcuts, biases and norms."""
    with torch.device("meta"):
        model = build_model("resunet", in_channels=3, classes=1)
    shortcuts = [p for name, p in model.named_parameters() if ".shortcut." in name]
    weights = [
        p for name, p in model.named_parameters() if ".shortcut." not in name and p.ndim == 4
    ]
    assert len(shortcuts) > 0
    assert sum(p.numel() for p in weights) == 7_780_096
    strides = [
        part.stride
        for part in model.modules()
        if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)
    ]
    assert strides.count((2, 2)) == 3


def test_resized_transpose_is_a_nearest_resize_of_a_pixel_short() -> None:
    torch.manual_seed(0)
    for dims, size in ((2, (5, 1)), (3, (2, 3, 4))):
        part = ResizedTranspose(Place(in_channels=4, out_channels=2, dims=dims, bias=False))
        x = torch.rand(1, 4, *size)
        torch.testing.assert_close(
            part(x), F.interpolate(part.conv(x), size=[2 * side for side in size])
        )
        assert sum(p.numel() for p in part.parameters()) == 4 * 2 * 3**dims


def test_cmunext_has_a_kernel_and_a_depth_per_level() -> None:
    with torch.device("meta"):
        model = build_model("cmunext")
    depthwise = [
        part for part in model.encoder.modules() if isinstance(part, nn.Conv2d) and part.groups > 1
    ]
    assert [conv.kernel_size[0] for conv in depthwise] == [3, 3, 7, 7, 7, 7, 7]
    assert [conv.in_channels for conv in depthwise] == [16, 16, 32, 128, 128, 128, 160]
    levels = [[type(p).__name__ for p in block] for block in model.encoder.blocks]
    assert [level.count("Mixing") for level in levels] == [1, 1, 1, 3, 1]


def test_segresnet_repeats_blocks_and_ends_with_norm_and_activation() -> None:
    with torch.device("meta"):
        model = build_model("segresnet")
    counts = [
        len(block) if isinstance(block[0], nn.Sequential) else 1 for block in model.encoder.blocks
    ]
    assert counts == [1, 2, 2, 4]
    assert [type(part) for part in model.head] == [nn.GroupNorm, nn.ReLU, nn.Conv2d]


def naive_atrous(x: Tensor, conv: nn.Module, dilation: int) -> Tensor:
    """The dilated convolution as shifted 1×1 ones."""
    padded = F.pad(x, (dilation,) * 4)
    height, width = x.shape[2:]
    out = torch.zeros(x.shape[0], conv.out_channels, height, width)
    for i, j in itertools.product(range(3), range(3)):
        moved = padded[
            ..., i * dilation : i * dilation + height, j * dilation : j * dilation + width
        ]
        out += F.conv2d(moved, conv.weight[..., i : i + 1, j : j + 1])
    return out + conv.bias[:, None, None]


def test_resunet_plus_plus_looks_at_three_dilations_and_gates_the_decoder() -> None:
    torch.manual_seed(0)
    place = Place(in_channels=4, out_channels=4)
    pyramid = AtrousPyramid(place, 4, 2).eval()
    x = torch.rand(1, 4, 20, 20)
    for branch, dilation in zip(pyramid.branches, (6, 12, 18), strict=True):
        assert isinstance(branch[0], CONV[2])
        torch.testing.assert_close(branch[0](x), naive_atrous(x, branch[0], dilation))
    gate = DecoderGate(place, 4, 6).eval()
    skip, up = torch.rand(1, 4, 10, 10), torch.rand(1, 6, 5, 5)
    ratio = gate(skip, up) / up
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
