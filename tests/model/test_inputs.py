import errno
import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin, features

from annotriage.engine.fitting import fit
from annotriage.errors import DataError, MediaError
from annotriage.model.inputs import as_pixels, content_hash, load, numbers, read_image, thumbnail
from annotriage.model.spec import InputSpec
from annotriage.states import Failure

GREY = InputSpec(size=(6, 8), mode="L", scale=1 / 255)
COLOUR = InputSpec(size=(6, 8), scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
MANY = 10**8


def picture(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3)])
def test_lossless_formats_give_the_pixels_that_were_saved(kind, shape):
    pixels = picture(*shape) // 86 * 80  # few colours, so that GIF keeps them all
    read = read_image(encoded(pixels, kind, **({"lossless": True} if kind == "WEBP" else {})), MANY, "a")
    assert read.mode in ("L", "RGB")
    np.testing.assert_array_equal(np.asarray(read.convert("RGB")), np.asarray(Image.fromarray(pixels).convert("RGB")))


def test_content_decides_what_a_file_is_not_its_name(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(picture(6, 8), "PNG"))
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.jpg", MANY, "a")), picture(6, 8))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_cut_off(kind):
    deep = picture(6, 8).astype(np.uint16) * 257
    np.testing.assert_array_equal(np.asarray(read_image(encoded(deep, kind), MANY, "a")), picture(6, 8))
    np.testing.assert_array_equal(load(deep, GREY, MANY, "a").content[:, :, 0], picture(6, 8))


def test_floating_point_pixels_are_refused():
    with pytest.raises(MediaError, match="a: holds floating-point pixels"):
        read_image(encoded(Image.new("F", (3, 3)), "TIFF"), MANY, "a")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    if mode == "P":
        image = image.convert("P")
        image.info["transparency"] = image.getpixel((1, 0))
        image.putpixel((0, 0), 1 + image.getpixel((1, 0)))
    read = read_image(encoded(image.convert(mode), "PNG"), MANY, "a").convert("RGB")
    assert read.getpixel((1, 0)) == (255, 255, 255)
    assert read.getpixel((0, 0)) != (255, 255, 255)


def test_a_transparent_array_is_laid_on_white():
    array = np.zeros((6, 8, 4), np.uint8)
    array[:3, :, 3] = 255
    pixels = load(array, COLOUR, MANY, "a").content
    assert (pixels[:3] == 0).all()
    assert (pixels[3:] == 255).all()


def test_cmyk_becomes_rgb():
    read = read_image(encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"), MANY, "a")
    assert read.mode == "RGB"
    assert read.getpixel((0, 0))[0] < 40


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_images_stand_upright(orientation, kind):
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :16] = 255  # only the upper left is white
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = np.asarray(read_image(encoded(np.ascontiguousarray(turned), kind, exif=exif), MANY, "a"))
    assert read.shape == upright.shape
    np.testing.assert_allclose(read.astype(int), upright, atol=30)


def test_only_the_first_frame_is_read():
    frames = [Image.new("L", (4, 4), shade) for shade in (10, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(read_image(data, MANY, "a").convert("L")).max() <= 12
    more = [Image.new("L", (4, 4), shade % 256) for shade in range(3000)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=more)
    assert np.asarray(read_image(data[: len(data) // 100], MANY, "a").convert("L")).max() <= 12, "nothing of what follows is asked for"


def bomb(width, height):
    """A PNG that says it is so large."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello, this is text", "is no image that can be read .it begins with the text 'hello, this is text'.*convert it to PNG"),
        (b"\0" * 64, "is no image that can be read .it begins with nothing but zeros"),
        (b"\0\x01\xff" * 40, "is no image that can be read .its beginning is that of no picture format"),
        (b"<!doctype html><html>", "is a web page"),
        (b"\0" * 128 + b"DICM" + b"\0" * 40, "is a DICOM file; convert it to PNG"),
        (encoded(picture(200, 200, 3), "JPEG")[:3000], "is damaged or cut short"),
        (encoded(picture(200, 200, 3), "PNG")[:3000], "is damaged or cut short"),
        (bomb(1001, 1001), "is larger than max_pixels = 1000000 allows .*raise the setting"),
        (bomb(60_000, 60_000), "is larger than max_pixels = 1000000 allows .*raise the setting"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_broken_file_is_a_media_error_that_names_it(tmp_path, data, problem):
    (tmp_path / "b.png").write_bytes(data)
    for media in (data, tmp_path / "b.png"):
        with pytest.raises(MediaError, match=f"^task 41: {problem}"):
            read_image(media, 10**6, "task 41")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"task 41: .*gone\.png cannot be read \(No such file"):
        read_image(tmp_path / "gone.png", MANY, "task 41")


def test_a_file_that_may_not_be_read_is_refused_and_one_that_is_not_there_is_gone(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")  # root, as which tests may run, is refused nothing

    with pytest.raises(MediaError) as gone:
        read_image(tmp_path / "gone.png", MANY, "task 41")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MediaError, match="Permission denied") as refused:
        read_image(tmp_path / "mine.png", MANY, "task 41")
    assert (gone.value.failure, refused.value.failure) == (Failure.GONE, Failure.REFUSED)


def test_a_picture_may_be_long_but_not_so_long_that_resizing_it_takes_gigabytes():
    with pytest.raises(MediaError, match="task 41: is 1 x 99999999 pixels; a side may have 65536 at most"):
        read_image(bomb(1, 99_999_999), 10**9, "task 41")
    assert read_image(encoded(picture(1, 2**16), "PNG"), MANY, "a").size == (2**16, 1)
    with pytest.raises(MediaError, match="65537 x 1 pixels"):
        as_pixels(picture(1, 2**16 + 1), "x[0]")


@pytest.mark.parametrize("name", ["a\0.png", "half \ud83d.png"])
def test_a_path_that_no_file_can_have_is_the_items_own_problem(tmp_path, name):
    with pytest.raises(MediaError, match="task 41: its path cannot be the name of a file"):
        read_image(tmp_path / name, MANY, "task 41")


def tiff(pixels, photometric):
    """An uncompressed TIFF of these pixels, (H, W, C), as cameras of microscopes and satellites write them."""
    height, width, channels = pixels.shape
    kind = 3 if pixels.dtype.kind == "f" else 1
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    tags = {256: width, 257: height, 258: (8 * pixels.itemsize,) * channels, 259: 1, 262: photometric, 277: channels, 278: height}
    for tag, value in (tags | {273: 8, 279: pixels.nbytes, 284: 1, 339: (kind,) * channels}).items():
        ifd[tag] = value
    start = 8 + pixels.nbytes
    return b"II*\0" + struct.pack("<I", start) + pixels.tobytes() + ifd.tobytes(start)


@pytest.mark.parametrize(
    ("pixels", "photometric", "found"),
    [
        (picture(4, 4, 5), 1, "a TIFF with 5 channels of 8 bits, whole numbers"),
        (picture(4, 4, 3).astype(np.float32), 2, "a TIFF with 3 channels of 32 bits, floating-point numbers"),
        (picture(4, 4, 3).astype("<u2"), 1, "a TIFF with 3 channels of 16 bits, whole numbers"),
    ],
)
def test_a_tiff_of_a_kind_that_is_not_read_is_named(pixels, photometric, found):
    with pytest.raises(MediaError, match=f"task 41: is {found}, which is not read; save it with 1 or 3 channels of 8 bits"):
        read_image(tiff(pixels, photometric), MANY, "task 41")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of the same
def test_a_tiff_whose_head_is_damaged_is_named_so():
    with pytest.raises(MediaError, match="a TIFF whose head is damaged"):
        read_image(b"II*\0" + bytes(20), MANY, "task 41")


def test_pictures_of_phones_are_read_or_named():
    heic = struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(200)
    with pytest.raises(MediaError, match="is a HEIC or HEIF picture, as phones take them, which is not read; convert it to JPEG"):
        read_image(heic, MANY, "task 41")
    if features.check("avif"):
        assert read_image(encoded(picture(16, 16, 3), "AVIF"), MANY, "a").size == (16, 16)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the cut notes of a TIFF
def test_any_cut_of_a_file_is_a_media_error_or_an_image():
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        data = encoded(picture(9, 9, 3), kind)
        for end in range(0, len(data), 7):
            try:
                read_image(data[:end], MANY, "a")
            except MediaError:
                continue


def test_an_array_becomes_its_tensor_unchanged():
    pixels = picture(6, 8, 3)
    expected = (pixels / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    loaded = load(pixels, COLOUR, MANY, "a")
    assert loaded.tensor.dtype == np.float32
    np.testing.assert_allclose(loaded.tensor, expected.transpose(2, 0, 1), rtol=1e-5, atol=1e-5)
    last = InputSpec(size=(6, 8), scale=1 / 255, mean=COLOUR.mean, std=COLOUR.std, layout="NHWC")
    np.testing.assert_allclose(load(pixels, last, MANY, "a").tensor, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "array", [picture(6, 8), picture(6, 8, 1), picture(6, 8, 3), picture(6, 8, 4), picture(30, 20), picture(6, 8) > 99]
)
@pytest.mark.parametrize("spec", [GREY, COLOUR])
def test_every_array_and_its_png_give_the_same_tensor_and_hash(array, spec):
    plain = array[:, :, 0] if array.shape[2:] == (1,) else array
    one, other = load(array, spec, MANY, "a"), load(encoded(plain, "PNG"), spec, MANY, "b")
    assert one.tensor.shape == spec.shape
    np.testing.assert_array_equal(one.tensor, other.tensor)
    assert content_hash(one) == content_hash(other)


def test_different_pictures_have_different_hashes():
    assert content_hash(load(picture(6, 8), GREY, MANY, "a")) != content_hash(load(picture(6, 8, seed=1), GREY, MANY, "a"))


@pytest.mark.parametrize("array", [np.zeros(5, np.uint8), np.zeros((6, 8, 2), np.uint8), np.zeros((0, 8), np.uint8)])
def test_an_array_that_is_no_image_is_refused(array):
    with pytest.raises(MediaError, match=r"^a: "):
        load(array, GREY, MANY, "a")


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_arrays_of_a_type_that_no_image_has_are_refused_at_the_first(dtype, network, tmp_path):
    spec = network(tmp_path, [np.eye(48)[:, :3]], [np.zeros(3)], classes="abc", size=(6, 8), layer="flat")
    images = np.zeros((9, 6, 8), dtype)
    np.savez(tmp_path / "images.npz", x=images, y=np.zeros(9, int))
    with pytest.raises(DataError, match=r"images\.npz\[0\]: is an array of .*uint8.*np\.rint\(x \* 255\).*kind = \"array\""):
        fit(spec, tmp_path / "images.npz")


@pytest.mark.parametrize("resize", ["bilinear", "nearest", "bicubic", "box", "lanczos"])
def test_pictures_are_resized_as_the_spec_says(resize):
    filters = Image.Resampling
    expected = Image.fromarray(picture(30, 20)).resize((8, 6), filters[resize.upper()])
    spec = InputSpec(size=(6, 8), mode="L", resize=resize)
    np.testing.assert_array_equal(load(picture(30, 20), spec, MANY, "a").tensor[0], np.asarray(expected))


def test_a_large_jpeg_decoded_in_less_detail_gives_nearly_the_same_tensor():
    smooth = Image.fromarray(picture(20, 20, 3)).resize((2400, 1600), Image.Resampling.BICUBIC)
    data = encoded(smooth, "JPEG", quality=95)
    spec = InputSpec(size=(64, 64), scale=1 / 255)
    loaded = load(data, spec, MANY, "a")
    assert max(loaded.picture.size) < 1200
    assert np.abs(loaded.tensor - load(np.asarray(read_image(data, MANY, "a")), spec, MANY, "a").tensor).mean() < 0.01


def test_rows_of_numbers_are_checked_and_scaled():
    spec = InputSpec(size=(3,), kind="array", mean=(1.0,), std=(2.0,))
    loaded = load(np.array([1, 3, 5]), spec, MANY, "a")
    np.testing.assert_array_equal(loaded.tensor, np.array([0, 1, 2], np.float32))
    assert loaded.picture is None
    assert content_hash(loaded) == content_hash(load(np.array([1.0, 3.0, 5.0]), spec, MANY, "b"))
    for wrong, problem in [(np.zeros(4), r"shape \[4\].*takes \[3\]"), (np.array(["x"] * 3), "values of type"), (b"", "rows of numbers")]:
        with pytest.raises(MediaError, match=f"^a: .*{problem}"):
            numbers(wrong, spec, "a")


@pytest.mark.parametrize(("shape", "size", "kind"), [((300, 200, 3), (40, 60), "JPEG"), ((5, 9), (9, 5), "PNG")])
def test_thumbnails_are_small_and_never_enlarged(shape, size, kind):
    for given in (picture(*shape), Image.fromarray(picture(*shape))):
        small = Image.open(io.BytesIO(thumbnail(given, 64)))
        assert small.format == kind
        assert small.size == size
    assert given.size == shape[1::-1]  # the picture itself is left as it was


def test_many_threads_read_what_one_reads():
    data = [encoded(picture(40, 40, 3, seed=seed), kind) for seed in range(10) for kind in ("PNG", "JPEG", "WEBP")]
    alone = [content_hash(load(media, COLOUR, MANY, "a")) for media in data]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda media: content_hash(load(media, COLOUR, MANY, "a")), data)) == alone
