"""Size of an annotated image, as its tool shows it."""

from pathlib import Path

from mmseg_fastscnn.datasets.image_header import (
    MAX_PIXELS,
    check_pixels,
    header_of,
    read_orientation,
)


def shown_size(path: str | Path) -> tuple[tuple[int, int], int]:
    """Return (h, w) of an image as annotation tools show it, and EXIF's orientation.

    Where EXIF only mirrors an image or turns it by 180 degrees, it is taken for one
    that is shown as it is stored; the check of the data set names such images.

    Raises:
        ValueError: It is no image that can be read, or has too many pixels.
        OSError: The file cannot be opened.
    """
    header = header_of(path)
    check_pixels(header, str(path), MAX_PIXELS)
    size = header.height, header.width
    orientation = read_orientation(header, Path(path).read_bytes(), str(path))
    return (size[::-1], orientation) if orientation >= 5 else (size, 1)


def drawn_size(
    path: str | Path, told: tuple[object, object]
) -> tuple[tuple[int, int], int]:
    """Return the (h, w) that shapes were drawn in, and EXIF's turn from the file to it.

    Args:
        path: The image.
        told: (h, w) that the annotations say; None where they say nothing.

    Raises:
        ValueError: It is neither the size of the image as shown nor as stored.
    """
    size, orientation = shown_size(path)
    if None in told or told == size:
        return size, orientation
    if orientation != 1 and told == size[::-1]:
        return size[::-1], 1
    raise ValueError(
        f'it was drawn on an image of {told[0]}x{told[1]}, the file is '
        f'{size[0]}x{size[1]} (h x w)'
    )
