"""Readers of public data sets' formats, and the two of these that anybody may download."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar

PET = "Parkhi et al. 2012, Cats and dogs"
VOC = "Everingham et al. 2015, IJCV 111"


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register the readers, and `oxford-pet` and `voc2012` as data sets."""
    registry.reader(
        "medsegbench",
        "unet_bench_formats.medsegbench:read",
        recognises="unet_bench_formats.medsegbench:recognises",
        summary="MedSegBench: one .npz with images and labels of three splits",
        cite="Kuş and Aydin 2024, Scientific Data 11",
    )
    registry.reader(
        "decathlon",
        "unet_bench_formats.decathlon:read",
        recognises="unet_bench_formats.decathlon:recognises",
        summary="Medical Segmentation Decathlon: dataset.json, imagesTr, labelsTr; NIfTI",
        cite="Antonelli et al. 2022, Nature Communications 13",
    )
    registry.reader(
        "nnunet",
        "unet_bench_formats.nnunet:read",
        recognises="unet_bench_formats.nnunet:recognises",
        summary="nnU-Net raw: dataset.json, imagesTr/CASE_0000.EXT, labelsTr; NIfTI or pictures",
        cite="Isensee et al. 2021, Nature Methods 18",
    )
    registry.reader(
        "tiff",
        "unet_bench_formats.tiff:read",
        recognises="unet_bench_formats.tiff:recognises",
        summary="multi-page TIFF: train-volume.tif, train-labels.tif, as in ISBI 2012",
        cite="Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9",
    )
    registry.reader(
        "dsb",
        "unet_bench_formats.dsb:read",
        recognises="unet_bench_formats.dsb:recognises",
        summary="a folder an image, a mask file an instance: ID/images, ID/masks, "
        "as in Kaggle's DSB 2018",
        cite="Caicedo et al. 2019, Nature Methods 16",
    )
    registry.reader(
        "npy",
        "unet_bench_formats.npy:read",
        recognises="unet_bench_formats.npy:recognises",
        summary="numpy stacks: images.npy and masks.npy, X_train.npy and y_train.npy, "
        "or an .npz with both",
    )
    registry.reader(
        "coco",
        "unet_bench_formats.coco:read",
        recognises="unet_bench_formats.coco:recognises",
        summary="COCO's JSON: annotations/instances_train.json and the images, "
        "train/_annotations.coco.json as Roboflow exports, or one file",
        cite="Lin et al. 2014, ECCV",
    )
    registry.reader(
        "labelme",
        "unet_bench_formats.labelme:read",
        recognises="unet_bench_formats.labelme:recognises",
        summary="LabelMe's JSON: a.json beside a.jpg, or in annotations/ with images/",
        cite="Russell et al. 2008, IJCV 77",
    )
    registry.reader(
        "dicom",
        "unet_bench_formats.dicom:read",
        recognises="unet_bench_formats.dicom:recognises",
        summary="DICOM: a series a case, images/CASE/*.dcm and masks/CASE.nii.gz, or single "
        "pictures; needs pydicom (pip install 'unet-bench[dicom]')",
        cite="NEMA PS3.3",
    )
    registry.reader(
        "oxford-pet",
        "unet_bench_formats.official:read_pet",
        recognises="unet_bench_formats.places:is_pet",
        summary="Oxford-IIIT Pet: oxford-iiit-pet/images, annotations/trimaps",
        cite=PET,
    )
    registry.reader(
        "voc",
        "unet_bench_formats.official:read_voc",
        recognises="unet_bench_formats.places:is_voc",
        summary="Pascal VOC: VOCdevkit/VOC2012/JPEGImages, SegmentationClass, ImageSets",
        cite=VOC,
    )
    registry.reader(
        "cityscapes",
        "unet_bench_formats.official:read_cityscapes",
        recognises="unet_bench_formats.places:is_cityscapes",
        summary="Cityscapes: leftImg8bit, gtFine; the 19 classes that are evaluated",
        cite="Cordts et al. 2016, arXiv 1604.01685",
    )
    registry.dataset(
        "oxford-pet",
        "unet_bench_formats.downloads:load_pet",
        summary="pets with trimaps, 0.8 GB, downloaded at first use",
        cite=PET,
    )
    registry.dataset(
        "voc2012",
        "unet_bench_formats.downloads:load_voc",
        summary="Pascal VOC 2012, 20 classes of things, 2 GB, downloaded at first use",
        cite=VOC,
    )
