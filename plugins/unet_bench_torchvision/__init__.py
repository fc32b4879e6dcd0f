"""torchvision's classifiers as encoders; Pet, Pascal VOC and Cityscapes, found and fetched by
torchvision's classes.
"""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.networks.choices import OF_PLAIN_ENCODER
from unet_bench.registry.registry import Registrar


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register the open family of encoders, three readers, and two data sets that may be downloaded
    by anybody.
    """
    registry.encoder(
        "torchvision:*",
        "unet_bench_torchvision.encoder:family",
        summary="a torchvision backbone, the last map of every size; finer levels are up-sampled "
        "without a skip",
        cite="TorchVision 2016, github.com/pytorch/vision",
        ignores=OF_PLAIN_ENCODER,
        dims=(2,),
    )
    pet, voc = "Parkhi et al. 2012, Cats and dogs", "Everingham et al. 2015, IJCV 111"
    registry.reader(
        "oxford-pet",
        "unet_bench_torchvision.formats:read_pet",
        recognises="unet_bench_torchvision.places:is_pet",
        summary="Oxford-IIIT Pet: oxford-iiit-pet/images, annotations/trimaps",
        cite=pet,
    )
    registry.reader(
        "voc",
        "unet_bench_torchvision.formats:read_voc",
        recognises="unet_bench_torchvision.places:is_voc",
        summary="Pascal VOC: VOCdevkit/VOC2012/JPEGImages, SegmentationClass, ImageSets",
        cite=voc,
    )
    registry.reader(
        "cityscapes",
        "unet_bench_torchvision.formats:read_cityscapes",
        recognises="unet_bench_torchvision.places:is_cityscapes",
        summary="Cityscapes: leftImg8bit, gtFine; the 19 classes that are evaluated",
        cite="Cordts et al. 2016, arXiv 1604.01685",
    )
    registry.dataset(
        "oxford-pet",
        "unet_bench_torchvision.downloads:load_pet",
        summary="pets with trimaps, 0.8 GB, downloaded at first use",
        cite=pet,
    )
    registry.dataset(
        "voc2012",
        "unet_bench_torchvision.downloads:load_voc",
        summary="Pascal VOC 2012, 20 classes of things, 2 GB, downloaded at first use",
        cite=voc,
    )
