"""Pictures in and out: hand-computed values, torchvision as independent oracle, and every kind of bad input."""

import csv
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import vizhelpers  # noqa: F401 - prepares torchvision's import
from vizhelpers.images import (
    DATA,
    black,
    library,
    load_image,
    named,
    normalisation,
    to_display,
    to_input,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def noise(rng, height, width):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def pixel(image, at=(4, 4)):
    return image.getpixel(at)


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refused(error, *words, call=load_image, **options):
    """Calls, and returns the error's sentence: one line with each of the words, and no warning."""
    with warnings.catch_warnings(record=True) as warned:  # recorded: a filter set inside the call could hide an error
        warnings.simplefilter("always")
        with pytest.raises(error) as caught:
            call(**options)
    assert not warned, warned[0].message
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 320, sentence
    for word in words:
        assert word in sentence, f"{word!r} is missing in: {sentence}"
    return sentence


# ---- library -----------------------------------------------------------------------------------------------------

def test_index_and_files_agree():
    with open(DATA / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kinds = "objects", "photos", "paintings"
    on_disk = {p.relative_to(DATA).as_posix() for kind in kinds for p in DATA.glob(f"{kind}/**/*") if p.is_file()}
    assert {row["file"] for row in rows} == on_disk and len(rows) == len(on_disk) == len(library())
    assert len({(row["kind"], row["subject"]) for row in rows}) == len(rows)  # a bare name is never ambiguous
    for row in rows:
        assert all(row[c].strip() for c in ("kind", "subject", "author", "source", "licence")), row
        assert row["file"] == "/".join(filter(None, (row["kind"], row["group"], row["subject"]))) + ".webp"


def test_readme_counts_are_those_of_the_index():
    text = (DATA / "README.md").read_text(encoding="utf-8")
    for kind in ("objects", "photos", "paintings"):
        assert f"| `{kind}/` | {len(library(kind))} |" in text
    for licence in {p.licence for p in library()}:
        assert licence in text


def test_library_filters():
    assert [p.name for p in library(subject="koala")] == ["objects/mammals/koala", "photos/animals/koala"]
    found = library("photos", "energy", "wind*")
    assert len(found) == len(list((DATA / "photos/energy").glob("wind*"))) > 5
    assert found == sorted(found, key=lambda p: p.name) and {p.group for p in found} == {"energy"}
    assert {p.kind for p in library(group="")} == {"paintings"}


@pytest.mark.parametrize("filters, word", [
    ({"kind": "photo"}, "photos"), ({"group": "mammal"}, "mammals"), ({"subject": "koalla"}, "koala"),
    ({"kind": "paintings", "group": "animals"}, "''"), ({"subject": "zz*"}, "choose from")])
def test_library_unknown_filter_names_valid_ones(filters, word):
    refused(ValueError, word, call=library, **filters)


def test_names_resolve_photo_before_cut_out():
    photo = np.asarray(load_image(DATA / "photos/animals/koala.webp"))
    cut_out = np.asarray(load_image(DATA / "objects/mammals/koala.webp"))
    for name in ("koala", "Koala", "animals/koala", "photos/animals/koala", "photos/animals/koala.webp",
                 library("photos", subject="koala")[0]):
        assert np.array_equal(load_image(name), photo)
    for name in ("objects/mammals/koala", "mammals/koala"):
        assert np.array_equal(load_image(name), cut_out)
    assert np.array_equal(load_image("polar bear"), load_image("photos/animals/polar_bear"))
    assert np.array_equal(load_image("great_wave"), load_image("paintings/great_wave"))


def test_every_library_picture_loads():
    assert all(load_image(p).mode == "RGB" for p in library())


def test_data_folder_can_be_moved(tmp_path):
    header = "file,kind,group,subject,author,source,licence"
    (tmp_path / "index.csv").write_text(f"{header}\nphotos/a/b.png,photos,a,b,me,me,CC0\n")
    (tmp_path / "photos/a").mkdir(parents=True)
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "photos/a/b.png")
    code = "from vizhelpers.images import *; print([p.name for p in library()], load_image('b').getpixel((0, 0)))"
    run = subprocess.run([sys.executable, "-c", code], env=os.environ | {"VIZHELPERS_DATA": str(tmp_path)},
                         capture_output=True, text=True)
    assert run.stdout.strip() == "['photos/a/b'] (1, 2, 3)", run.stderr


# ---- PIL modes ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode, colour, expected", [
    ("L", 100, (100, 100, 100)), ("RGB", (1, 2, 3), (1, 2, 3)), ("1", 1, (255, 255, 255)), ("1", 0, (0, 0, 0)),
    ("LA", (100, 0), (255, 255, 255)), ("LA", (100, 255), (100, 100, 100)),
    ("RGBA", (200, 100, 50, 0), (255, 255, 255)), ("RGBA", (200, 100, 50, 255), (200, 100, 50)),
    ("HSV", (0, 255, 255), (255, 0, 0)),
    ("RGBA", (205, 105, 55, 51), (245, 225, 215)),  # 255 - 0.2 * 50, 255 - 0.2 * 150, 255 - 0.2 * 200
    ("CMYK", (0, 255, 255, 0), (255, 0, 0)), ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
    ("I;16", 65535, (255,) * 3), ("I;16", 32896, (128,) * 3), ("I;16", 300, (1,) * 3),  # 300 / 257 = 1.17
    ("I", 65535, (255,) * 3), ("I", 25700, (100,) * 3)])
def test_pil_modes(mode, colour, expected):
    image = Image.new(mode, (9, 11), colour)
    result = load_image(image)
    assert (result.mode, result.size, pixel(result)) == ("RGB", (9, 11), expected)
    assert image.mode == mode and pixel(image) == Image.new(mode, (9, 11), colour).getpixel((4, 4))


def test_lab_is_converted_with_colours():
    """sRGB red is L* 54.3, a* 80.8, b* 69.9 under ICC's D50 white: stored as 138, 209, 198.

    One 8-bit step of Lab is several steps of RGB at the gamut's edge: colour management itself returns 251, 5, 4.
    """
    for stored, expected in (((255, 128, 128), (255, 255, 255)), ((138, 209, 198), (255, 0, 0))):
        assert np.abs(np.subtract(pixel(load_image(Image.new("LAB", (9, 9), stored))), expected)).max() <= 5


def test_16_bit_png_and_cmyk_jpeg_files(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    assert np.array_equal(np.asarray(load_image(tmp_path / "deep.png"))[..., 0], np.arange(256).reshape(16, 16))
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    assert np.abs(np.subtract(pixel(load_image(tmp_path / "print.jpg")), (255, 0, 0))).max() <= 3


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (10, 10), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 5, 10))
    image.save(tmp_path / "p.png", transparency=0)
    image.save(tmp_path / "p.gif", transparency=0)
    for name in ("p.png", "p.gif"):
        result = load_image(tmp_path / name)
        assert pixel(result, (2, 2)) == (255, 255, 255) and pixel(result, (7, 2)) == (0, 0, 255)
    rgb = encoded(Image.new("RGB", (9, 9), (9, 9, 9)), "PNG", transparency=(9, 9, 9))
    assert pixel(load_image(rgb)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, tmp_path):
    stored = Image.fromarray(np.arange(8 * 12 * 3, dtype=np.uint16).astype(np.uint8).reshape(8, 12, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "x.png", exif=exif)
    a = np.asarray(stored)  # the EXIF table by hand, with numpy only
    upright = [a, a[:, ::-1], a[::-1, ::-1], a[::-1], a.swapaxes(0, 1), np.rot90(a, -1), np.rot90(a, 2).swapaxes(0, 1),
               np.rot90(a)][orientation - 1]
    path = tmp_path / "x.png"
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        assert np.array_equal(load_image(source), upright)
        assert np.array_equal(ImageOps.exif_transpose(load_image(source)), upright)  # not turned a second time


# ---- arrays and tensors ------------------------------------------------------------------------------------------

def test_array_and_tensor_layouts(rng):
    a = noise(rng, 10, 12)
    chw = np.ascontiguousarray(a.transpose(2, 0, 1))
    for source in (a, chw, torch.from_numpy(chw), torch.from_numpy(a), torch.from_numpy(chw)[None], a[None],
                   a[..., ::-1][..., ::-1], np.asfortranarray(a)):
        assert np.array_equal(load_image(source), a)
    grey = a[..., 0]
    for source in (grey, grey[None], grey[..., None], torch.from_numpy(grey[None].copy())):
        assert np.array_equal(load_image(source), np.repeat(grey[..., None], 3, 2))


def test_the_dtype_says_the_scale():
    steps = np.arange(256).reshape(16, 16)
    for source in (steps.astype(np.uint8), steps / 255, (steps / 255).astype(np.float32), torch.from_numpy(steps / 255),
                   steps / 255 * (1 + 5e-7)):
        assert np.array_equal(np.asarray(load_image(source))[..., 1], steps)
    assert pixel(load_image(np.eye(9, dtype=bool)), (3, 3)) == (255, 255, 255)
    assert pixel(load_image(torch.full((3, 9, 9), 0.5, dtype=torch.bfloat16, requires_grad=True))) == (128, 128, 128)
    alpha = np.full((9, 9, 4), (205, 105, 55, 51), np.uint8)
    assert pixel(load_image(alpha)) == (245, 225, 215)


def test_sources_are_unchanged(rng):
    a, f = noise(rng, 20, 30), rng.random((3, 20, 30)).astype(np.float32)
    tensor, palette = torch.from_numpy(f.copy()), Image.fromarray(a).convert("P")
    before = a.copy(), f.copy(), tensor.clone(), palette.tobytes(), dict(palette.info)
    for source in (a, f, tensor, palette):
        np.asarray(load_image(source)).copy()[:] = 0
        load_image(source).putpixel((0, 0), (1, 2, 3))
        to_input(source, size=16).zero_()
    assert np.array_equal(a, before[0]) and np.array_equal(f, before[1]) and torch.equal(tensor, before[2])
    assert (palette.mode, palette.tobytes(), dict(palette.info)) == ("P", *before[3:])


# ---- bad input ---------------------------------------------------------------------------------------------------

def test_missing_names_and_files(tmp_path):
    refused(ValueError, "koala", source="koalla")
    refused(FileNotFoundError, "india_gate", source=tmp_path / "india_gat.jpg")
    refused(FileNotFoundError, "koala", source="nowhere/koala.png")
    refused(ValueError, "library()", source="qqqqqq")
    refused(ValueError, "xxx", source="x" * 3000)
    refused(FileNotFoundError, "no file", source="https://example.org/a.png")


def test_broken_files(tmp_path):
    good = encoded(load_image("koala"), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(good[:len(good) // 2])
    (tmp_path / "text.png").write_text("this is no picture\n")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(encoded(load_image("koala"), "PNG")[:5000])
    refused(ValueError, "cut.jpg", "damaged", source=tmp_path / "cut.jpg")
    refused(ValueError, "cut.png", "damaged", source=str(tmp_path / "cut.png"))
    refused(ValueError, "text.png", "not a picture", source=tmp_path / "text.png")
    refused(ValueError, "empty.png", "0 bytes", source=tmp_path / "empty.png")
    refused(ValueError, "folder", source=tmp_path)
    refused(ValueError, "bytes", source=b"")
    refused(ValueError, "not a picture", source=b"hello")
    refused(ValueError, "damaged", source=good[:3000])
    refused(ValueError, "damaged", source=Image.open(io.BytesIO(good[:len(good) // 2])))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.jpg", "cut.png", "empty.png", "text.png"]


def test_sizes_are_refused_from_the_header(tmp_path):
    limit = Image.MAX_IMAGE_PIXELS
    (tmp_path / "bomb.png").write_bytes(png_header(30000, 30000))
    refused(ValueError, "100 million", source=tmp_path / "bomb.png")
    refused(ValueError, "100 million", source=png_header(30000, 30000))
    refused(ValueError, "11000 x 10000", source=png_header(11000, 10000))  # where PIL only warns
    assert "100 million" not in refused(ValueError, "damaged", source=png_header(900, 900))
    for source in (encoded(Image.new("RGB", (1, 1)), "PNG"), Image.new("L", (7, 50)), np.zeros((1, 1, 3), np.uint8)):
        refused(ValueError, "pictures have from 8 x 8", source=source)
    assert load_image(Image.new("L", (8, 8))).size == (8, 8) and Image.MAX_IMAGE_PIXELS == limit


@pytest.mark.parametrize("source", [None, 3, 2.5, {"a": 1}, object(), [[1, 2], [3, 4]]])
def test_wrong_types(source):
    refused(TypeError, type(source).__name__, source=source)


def test_wrong_values():
    ones = np.ones((9, 9, 3))
    refused(ValueError, "200", "outside 0..1", source=ones * 200)
    refused(ValueError, "outside 0..1", source=torch.ones(3, 9, 9) * (1 + 1e-5))
    for values in (np.ones((9, 9), int), np.ones((9, 9), np.uint16), torch.ones(9, 9, dtype=torch.int16), ones * 1j):
        refused(TypeError, str(values.dtype).removeprefix("torch."), "unknown scale", "0..255", source=values)
    refused(ValueError, "NaN", source=ones * np.nan)
    refused(ValueError, "NaN", source=torch.full((3, 9, 9), torch.inf))
    refused(ValueError, "to_display", source=to_input("koala", device="cpu"))
    refused(ValueError, "shape", source=np.zeros((9, 9, 2), np.uint8))
    refused(ValueError, "shape", source=np.zeros((2, 3, 9, 9), np.uint8))
    refused(ValueError, "shape", source=np.zeros(9, np.uint8))
    refused(ValueError, "65535", source=Image.new("I", (9, 9), 70000))
    refused(ValueError, "mode F", source=Image.new("F", (9, 9), 0.5))  # PIL itself would make it black
    refused(ValueError, "mode La", source=Image.new("La", (9, 9), (100, 255)))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc, which only Linux has")
def test_files_are_closed(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(encoded(load_image("koala"), "JPEG")[:3000])

    def still_open():
        links = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
        return [os.readlink(link) for link in links if os.path.lexists(link) and str(tmp_path) in os.readlink(link)]
    with pytest.raises(ValueError):
        load_image(tmp_path / "cut.jpg")
    assert still_open() == []
    with open(tmp_path / "cut.jpg"):
        assert len(still_open()) == 1  # the count sees an open file


# ---- to_input and to_display -------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [(480, 320), (320, 481), (257, 255), (100, 37), (224, 224), (1000, 60), (255, 511)])
def test_to_input_equals_torchvision(size, rng):
    from torchvision.models import AlexNet_Weights
    image = Image.fromarray(noise(rng, size[1], size[0]))
    assert torch.equal(to_input(image, device="cpu")[0], AlexNet_Weights.IMAGENET1K_V1.transforms()(image))


@pytest.mark.parametrize("name", ["koala", "india_gate", "great_wave", "objects/mammals/koala"])
def test_to_input_equals_torchvision_on_pictures_and_settings(name):
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification
    settings = dict(mean=(0.498, 0.4, 0.3), std=(0.502, 0.6, 0.25))
    net = SimpleNamespace(viz=SimpleNamespace(input_size=240, resize_size=260, interpolation="bicubic", **settings))
    oracle = ImageClassification(crop_size=240, resize_size=260, interpolation=InterpolationMode.BICUBIC, **settings)
    assert torch.equal(to_input(name, net, device="cpu")[0], oracle(load_image(name)))
    smaller = ImageClassification(crop_size=112, resize_size=128)
    assert torch.equal(to_input(name, size=112, device="cpu")[0], smaller(load_image(name)))


def test_to_input_batches_and_sizes(rng):
    image = Image.fromarray(noise(rng, 60, 91))
    assert to_input(image, crop=False, size=40).shape == (1, 3, 40, 60)  # 91 * 40 / 60 = 60.67
    assert to_input(image.transpose(Image.Transpose.ROTATE_90), crop=False, size=40).shape == (1, 3, 60, 40)
    assert to_input(image, crop=False).shape == (1, 3, 224, 339)
    assert to_input(image, size=(160, 224)).shape == (1, 3, 160, 224)
    both = to_input(["koala", image], size=32)
    assert both.dtype == torch.float32 and torch.equal(both[1:], to_input(image, size=32)) and not both.requires_grad
    batch = torch.rand(3, 3, 20, 30)
    assert torch.equal(to_input(batch, size=16), torch.cat([to_input(one, size=16) for one in batch]))
    assert to_input(torch.nn.Parameter(batch), size=16).grad_fn is None


def test_to_input_goes_to_the_models_device():
    net = torch.nn.Conv2d(3, 1, 1)
    assert to_input("koala", net).device == net.weight.device
    assert to_input("koala", torch.nn.Conv2d(3, 1, 1, device="meta")).device.type == "meta"
    assert to_input("koala", net, device="meta").device.type == "meta"


def test_to_input_refuses():
    small, strip = Image.new("RGB", (20, 30)), Image.new("RGB", (8, 400))
    refused(ValueError, "empty", call=to_input, image=[])
    refused(ValueError, "different sizes", call=to_input, image=[small, small.rotate(90, expand=True)], crop=False)
    for size in (3, 2.5, "big", (10,) * 3, (100, 4), 0, -5):
        refused(ValueError, "size=", call=to_input, image=small, size=size)
    refused(ValueError, "million", call=to_input, image=small, size=20000)
    refused(ValueError, "100 million pixels", "(H, W)", call=to_input, image=Image.new("L", (8, 20000)))
    assert to_input(strip, size=(400, 8)).shape == (1, 3, 400, 8)
    refused(FileNotFoundError, "koala", call=to_input, image=["koala", "koala.jpg"])


@pytest.mark.parametrize("shape", [(9, 9), (31, 57), (101, 67), (224, 224)])
def test_display_undoes_input_exactly(shape, rng):
    a = noise(rng, *shape)
    net = SimpleNamespace(viz=SimpleNamespace(mean=(127 / 255,) * 3, std=(128 / 255,) * 3, input_size=224,
                                              resize_size=256, interpolation="bicubic"))
    for size in (min(shape), shape):
        for model in (None, net):
            shown = to_display(to_input(a, model, crop=False, size=size), model)
            assert shown.shape == (1, 3, *shape)
            assert np.abs(shown[0].permute(1, 2, 0).numpy() - a / 255).max() < 1 / 510
            assert np.array_equal(load_image(shown), a)


def test_display_clamps_detaches_and_leaves_x():
    x = torch.tensor([-9.0, 0.0, 9.0]).view(1, 1, 3).expand(3, 2, 3).clone().requires_grad_()
    before = x.detach().clone()
    shown = to_display(x)
    expected = torch.tensor([[0, 0.485, 1], [0, 0.456, 1], [0, 0.406, 1]])
    assert shown.shape == (1, 3, 2, 3) and torch.allclose(shown[0, :, 0], expected) and not shown.requires_grad
    shown.zero_()
    assert torch.equal(x, before)
    refused(TypeError, "x is a tensor, not", call=vizhelpers.to_display, x=np.zeros((3, 9, 9)))
    refused(ValueError, "(9, 9, 3)", call=to_display, x=torch.zeros(9, 9, 3))


# ---- what explorers ask for, and one mean and deviation ----------------------------------------------------------

def test_pictures_by_name():
    koala, path = load_image("koala"), DATA / "photos/classics/coffee.webp"
    assert list(named("koala")) == ["koala"] and list(named({"k": koala, 2: path})) == ["k", "2"]
    assert list(named(["koala", path, koala])) == ["koala", str(path), "picture 2"]
    assert list(named(np.asarray(koala))) == ["picture 0"] and named(koala)["picture 0"].size == koala.size
    refused(ValueError, "no picture", call=named, images=[])


def test_the_net_that_a_wrapper_holds_says_what_it_expects():
    net = torch.nn.Conv2d(3, 1, 1)
    net.viz = SimpleNamespace(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), input_size=64, resize_size=70)
    for wrapper in (torch.nn.DataParallel(net), torch.nn.Sequential(torch.nn.Sequential(net))):
        x = to_input("koala", wrapper)
        assert torch.equal(x, to_input("koala", net)) and x.shape == (1, 3, 64, 64)
        mean, std = normalisation(wrapper, torch.zeros(1))
        assert mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3]) and std.shape == (1, 3, 1, 1)
    dark = to_input(Image.new("RGB", (64, 64)), net)
    assert torch.equal(black(net).expand_as(dark), dark)
