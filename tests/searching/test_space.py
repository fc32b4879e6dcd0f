"""The space of a search: what it holds, and that names and points say the same."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from unet_bench.errors import InvalidChoice, InvalidSuite, UnknownName
from unet_bench.models.select import select_one
from unet_bench.registry import plugins
from unet_bench.registry.registry import Registry
from unet_bench.searching.space import DEFAULT, read_space


@pytest.fixture(scope="module")
def registry() -> Registry:
    return plugins.load(()).checked()


def test_the_default_is_large_and_each_choice_begins_with_the_baselines(registry: Registry) -> None:
    space = read_space([], registry)
    assert space.size > 100_000
    own = space.base.choices.text()
    assert all(values[0] == own[name] for name, values in space.alternatives.items())
    assert set(space.alternatives) == set(DEFAULT)
    assert all(select_one(registry, name) for name in space.published)


def test_names_are_variants_and_lead_back_to_their_points(registry: Registry) -> None:
    space = read_space([], registry)
    for point in itertools.islice(space.draws(3), 200):
        name = space.name(point)
        assert space.point(name) == point  # also of unet++, whose name has plus signs
        choices = select_one(registry, name).choices.text()
        assert {choice: choices[choice] for choice in point} == point
    assert space.point("unet") == {name: values[0] for name, values in space.alternatives.items()}
    assert space.point("unet-light") is None
    assert space.point("resnet34-unet") is None


def test_draws_are_the_same_for_a_seed(registry: Registry) -> None:
    space = read_space(["up=bilinear,nearest", "depth=2,3"], registry)
    assert space.size == 9  # the baseline's own are alternatives, too
    first, again, other = (list(itertools.islice(space.draws(s), 9)) for s in (1, 1, 2))
    assert first == again != other


def test_a_base_with_changes_of_its_own(registry: Registry) -> None:
    space = read_space(["up=bilinear"], registry, "unet+depth=3")
    assert [space.point(name) for name in ("unet+depth=3", "unet+depth=3+up=bilinear", "unet")] == [
        {"up": "transpose"},
        {"up": "bilinear"},
        None,
    ]


def test_a_file_lists_alternatives(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text('up = ["bilinear"]\ndepth = [2, 3]\nbias = [false]\n')
    space = read_space([str(file)], registry)
    assert space.alternatives == {
        "up": ("transpose", "bilinear"),
        "depth": ("4", "2", "3"),
        "bias": ("true", "false"),
    }
    assert space.published == ()


@pytest.mark.parametrize(
    ("texts", "error", "said"),
    [
        (["up=bilinaer"], UnknownName, "did you mean bilinear"),
        (["upp=bilinear"], UnknownName, "did you mean up"),
        (["up"], InvalidChoice, "SLOT=PART,PART"),
        (["up=transpose"], InvalidSuite, "a single network"),
        (["depth=deep"], InvalidChoice, "depth=deep is not valid"),
        (["absent.toml"], InvalidSuite, "absent.toml"),
    ],
)
def test_what_is_no_space(
    texts: list[str], error: type[Exception], said: str, registry: Registry
) -> None:
    with pytest.raises(error, match=said):
        read_space(texts, registry)


def test_a_whole_architecture_has_no_parts_to_exchange(registry: Registry) -> None:
    with pytest.raises(InvalidSuite, match="whole architecture"):
        read_space(["up=bilinear"], registry, "swin-unet")


@pytest.mark.parametrize("text", ["up = 3", "up = []", "up = [", "up = 'bilinear'"])
def test_a_file_that_lists_none(text: str, registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text + "\n")
    with pytest.raises(InvalidSuite, match="space"):
        read_space([str(file)], registry)
