"""The data of one item -> what the model takes: decoding, resizing and scaling of images, checking of rows of numbers.

Safe in threads; a broken item is a MediaError and leaves the others alone.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, features

from annotriage.data import Media
from annotriage.errors import DataError, MediaError
from annotriage.model.spec import InputSpec
from annotriage.model.types import Array
from annotriage.states import Failure

Floats = NDArray[np.float32]
Picture = Image.Image | NDArray[np.uint8]

LONGEST_SIDE = 2**16  # pixels; a JPEG cannot have more
TINY = 32  # pixels; a PNG is smaller than a JPEG there, and loses nothing


@dataclass(frozen=True, slots=True)
class Loaded:
    """One item, decoded once.

    tensor: float32, of the shape of `InputSpec.shape`. content: what the model sees of the item, before scaling: uint8
    pixels of the model's size, or the row itself. picture: for thumbnails; None where the input is no image.
    """

    tensor: Floats
    content: Array
    picture: Picture | None


def load(media: Media, spec: InputSpec, max_pixels: int, where: str, out: Floats | None = None) -> Loaded:
    """The item as the model takes it. `where` names the item in errors, as "task 41 (scans/a.png)".

    out: its place in a batch, where the tensor is then made; a new array if None.

    Raises MediaError saying what is wrong with the item and what to do; DataError if its type is that of a whole dataset.
    """
    if spec.kind == "array":
        row = numbers(media, spec, where)
        return Loaded(_scaled(row, spec, out), row, None)
    picture: Picture
    if isinstance(media, np.ndarray):
        picture = as_pixels(media, where)
    else:
        picture = read_image(media, max_pixels, where, near=max(2 * max(spec.size), 256))
    pixels = resized_pixels(picture, spec)
    return Loaded(_scaled(pixels, spec, out), pixels, picture)


def content_hash(loaded: Loaded) -> str:
    """A short hash of what the model sees: equal for the same picture in an .npz and a .png, if they resize to the same pixels."""
    content = np.ascontiguousarray(loaded.content)
    digest = hashlib.blake2b(f"{content.shape} {content.dtype}".encode(), digest_size=16)
    digest.update(content.data)
    return digest.hexdigest()


def resized_pixels(picture: Picture, spec: InputSpec) -> NDArray[np.uint8]:
    """The picture in the model's size and mode: (H, W, C) uint8."""
    height, width = spec.size
    shape = (height, width) if spec.mode == "L" else (height, width, 3)
    if not isinstance(picture, np.ndarray) or picture.shape != shape:
        image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
        if image.mode != spec.mode:
            image = image.convert(spec.mode)
        if image.size != (width, height):
            image = image.resize((width, height), _FILTERS[spec.resize])
        picture = np.asarray(image)
    return picture.reshape(height, width, spec.channels)


def numbers(media: Media, spec: InputSpec, where: str) -> Floats:
    """A row of numbers as float32, in the shape that the model takes. Raises MediaError if it is something else."""
    if not isinstance(media, np.ndarray):
        raise MediaError(
            Failure.UNFIT, f'{where}: is a file, but the model takes rows of numbers (kind = "array"); put them into an .npz file as x'
        )
    if not (np.issubdtype(media.dtype, np.number) or media.dtype == bool) or np.iscomplexobj(media):
        raise MediaError(Failure.UNFIT, f"{where}: holds values of type {media.dtype}; the model takes numbers")
    if media.shape != spec.size:
        raise MediaError(Failure.UNFIT, f"{where}: has the shape {list(media.shape)}, but the model takes {list(spec.size)} ([input] size)")
    return media.astype(np.float32)


def read_image(media: Path | bytes, max_pixels: int, where: str, near: int | None = None) -> Image.Image:
    """An image file, decoded: upright, mode L or RGB, 16-bit grey scaled to 8, what is transparent on white, first frame.

    near: a JPEG whose both sides are at least twice as long may be decoded in less detail, which is several times faster.
    Content decides what the file is, not its name. Raises MediaError if it is too large, cut short, empty or no image.
    """
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's own guard knows no argument; it is only ever widened, to the setting
    with _opened(media, where) as stream:
        try:
            image = Image.open(stream, formats=_FORMATS)
            _check_sides(image.width, image.height, where)
            if image.width * image.height > max_pixels:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            if near is not None:
                image.draft(None, (near, near))
            image.load()
            return _eight_bits(_upright(image), where)
        except MediaError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise MediaError(
                Failure.TOO_LARGE, f"{where}: is larger than max_pixels = {max_pixels} allows ({error}); shrink it, or raise the setting"
            ) from None
        except UnidentifiedImageError:
            raise MediaError(Failure.UNREADABLE, _no_image(stream, where)) from None
        except Exception as error:  # Pillow's decoders raise whatever a broken file leads them into
            raise MediaError(
                Failure.UNREADABLE, f"{where}: is damaged or cut short ({error}); open it in a viewer, then export or upload it again"
            ) from error


def as_pixels(array: Array, where: str) -> NDArray[np.uint8]:
    """An array as an image, (H, W) or (H, W, 3) uint8; 16-bit values scaled to 8, what is transparent laid on white."""
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _from_16_bits(array)
    if array.dtype != np.uint8:
        raise DataError(
            f"{where}: is an array of {array.dtype}; images are uint8 (0 to 255), or uint16. Convert x, values from 0 to 1 with"
            ' np.rint(x * 255).astype(np.uint8). A model that takes the numbers as they are has kind = "array" under [input] in its spec'
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise MediaError(
            Failure.UNFIT, f"{where}: has the shape {list(array.shape)}; images are (height, width), or with 1, 3 or 4 channels last"
        )
    _check_sides(array.shape[1], array.shape[0], where)
    if array.ndim == 3 and array.shape[2] == 4:
        return np.asarray(_on_white(Image.fromarray(array)))
    return array


def shrunk(picture: Picture, side: int) -> Picture:
    """The picture with its longer side at most `side`, by a whole factor, which is many times faster than any other."""
    height, width = picture.shape[:2] if isinstance(picture, np.ndarray) else picture.size[::-1]
    factor = math.ceil(max(height, width) / side)
    if factor == 1:
        return picture
    return (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).reduce(factor)


def thumbnail(picture: Picture, side: int) -> bytes:
    """A small encoded picture, its longer side at most `side`; a smaller one is not enlarged. JPEG, or PNG for tiny ones."""
    picture = shrunk(picture, side)
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    stream = io.BytesIO()
    if max(image.size) > TINY:
        image.save(stream, "JPEG", quality=80)
    else:
        image.save(stream, "PNG")
    return stream.getvalue()


def _scaled(values: Array, spec: InputSpec, out: Floats | None = None) -> Floats:
    """(x * scale - mean) / std along the last axis, as the model takes it: (C, H, W) for an image whose layout is NCHW."""
    std = np.array(spec.std or (1.0,))
    gain, shift = (spec.scale / std).astype(np.float32), (np.array(spec.mean or (0.0,)) / std).astype(np.float32)
    if spec.kind == "image" and spec.layout == "NCHW":
        values, gain, shift = values.transpose(2, 0, 1), gain[:, None, None], shift[:, None, None]
    scaled = np.empty(values.shape, dtype=np.float32) if out is None else out
    np.copyto(scaled, values)  # channels are moved while they are bytes: several times faster than as floats
    scaled *= gain
    if any(spec.mean):
        scaled -= shift
    return scaled


def _check_sides(width: int, height: int, where: str) -> None:
    """Resizing goes along one side first, and makes a strip as long as the other: a file of 200 bytes could ask for gigabytes."""
    if max(width, height) > LONGEST_SIDE:
        raise MediaError(
            Failure.TOO_LARGE, f"{where}: is {width} x {height} pixels; a side may have {LONGEST_SIDE} at most, so cut it into pieces"
        )


def _opened(media: Path | bytes, where: str) -> BinaryIO:
    if isinstance(media, bytes):
        return io.BytesIO(media)
    try:
        return media.open("rb")
    except OSError as error:
        which = "" if str(media) in where else f"{media} "
        failure = Failure.REFUSED if isinstance(error, PermissionError) else Failure.GONE
        raise MediaError(
            failure, f"{where}: {which}cannot be read ({error.strerror}); check that it is still there and readable"
        ) from error
    except ValueError as error:  # half of a character, or NUL
        raise MediaError(Failure.ADDRESS, f"{where}: its path cannot be the name of a file ({error}); write it again") from error


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, OSError, TypeError, KeyError, struct.error):
        return image  # a broken note beside sound pixels
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _eight_bits(image: Image.Image, where: str) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise MediaError(
                Failure.UNREADABLE, f"{where}: has values from {values.min()} to {values.max()}; save it with 8 or 16 bits per channel"
            )
        return Image.fromarray(_from_16_bits(values))
    if image.mode == "F":
        raise MediaError(
            Failure.UNREADABLE,
            f"{where}: holds floating-point pixels, whose black and white are not known; save it with 8 or 16 bits per channel",
        )
    if image.has_transparency_data:
        return _on_white(image)
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image.convert("RGBA"))
    return paper.convert("RGB")


def _from_16_bits(values: Array) -> NDArray[np.uint8]:
    """0 to 65535 -> 0 to 255, so that white stays white."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _no_image(stream: BinaryIO, where: str) -> str:
    stream.seek(0)
    start = stream.read(132)
    if not start:
        return f"{where}: is empty (0 bytes); upload or export it again"
    if start.lstrip().startswith(b"<"):
        return f"{where}: is a web page or XML, not an image; perhaps a login page answered in its place"
    if start[128:] == b"DICM":
        return f"{where}: is a DICOM file; convert it to PNG, as the model's training images were"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF:
        return f"{where}: is a HEIC or HEIF picture, as phones take them, which is not read; convert it to JPEG or PNG"
    if start[:4] in _TIFF:
        return f"{where}: is a TIFF {_kind_of_tiff(stream)}, which is not read; save it with 1 or 3 channels of 8 bits, or as PNG"
    return f"{where}: is no image that can be read ({_beginning(start)}); convert it to PNG, JPEG, WebP, BMP, GIF or TIFF"


def _beginning(start: bytes) -> str:
    """What a file that is no image begins with, in words."""
    if not any(start):
        return "it begins with nothing but zeros"
    text = start[:24]
    if all(32 <= byte < 127 for byte in text):
        return f"it begins with the text {text.decode('ascii')!r}"
    return "its beginning is that of no picture format"


def _kind_of_tiff(stream: BinaryIO) -> str:
    """What the head of a TIFF says of its pixels, in words."""
    try:
        stream.seek(0)
        start = stream.read(8)
        head = TiffImagePlugin.ImageFileDirectory_v2(start + (stream.read(8) if start[2] == 43 or start[3] == 43 else b""))
        stream.seek(head.next)
        head.load(stream)
        if TiffImagePlugin.IMAGEWIDTH not in head:
            return "whose head is damaged"
        bits, kinds = head.get(TiffImagePlugin.BITSPERSAMPLE, (1,)), head.get(TiffImagePlugin.SAMPLEFORMAT, (1,))
        kind = {1: "whole numbers", 2: "signed numbers", 3: "floating-point numbers"}.get(kinds[0], "an unknown kind")
        return f"with {head.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)} channels of {' and '.join(map(str, dict.fromkeys(bits)))} bits, {kind}"
    except Exception:  # Pillow's reader raises whatever a broken head leads it into
        return "whose head is damaged"


_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FORMATS = (  # few and safe: Pillow's EPS, for one, starts a program
    *("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF"),
    *(("AVIF",) if features.check("avif") else ()),
)
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
