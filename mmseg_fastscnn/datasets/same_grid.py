"""Whether a label was drawn on the grid that its image is stored in, or turned by EXIF.

Only images that EXIF turns, or whose label has another size, get here.
"""

from PIL import ExifTags, Image

from mmseg_fastscnn.datasets.image_header import (
    DAMAGE,
    Header,
    UnreadableImage,
    orientation,
    png_exif,
)


def read_orientation(header: Header, data: bytes, path: str) -> int:
    """Return EXIF's orientation, 1 to 8; 1 is upright and the default.

    Args:
        header: Header of the image file.
        data: Content of the file, in which a PNG's EXIF may stand anywhere.
        path: What error messages call it.

    Raises:
        UnreadableImage: The EXIF is damaged.
    """
    if header.format != 'PNG':
        return header.exif
    exif = Image.Exif()
    try:
        exif.load(png_exif(data))
        return orientation(exif.get(ExifTags.Base.Orientation))
    except DAMAGE as error:
        raise UnreadableImage(path, f'its EXIF is damaged: {error}') from error


def check_same_grid(shape: tuple[int, int], results: dict) -> None:
    """Raise ValueError unless a label lies on its image pixel by pixel.

    Where EXIF turns the image, viewers and most annotation tools show it turned, while
    it is read as it is stored. The label's size tells which of the two it was drawn on,
    unless turning keeps the size.

    Args:
        shape: (h, w) of the label.
        results: Has `img_path`, `seg_map_path`, `ori_shape`, perhaps `orientation`.
    """
    image, path = results['img_path'], results['seg_map_path']
    size, orientation = results['ori_shape'], results.get('orientation', 1)
    advice = 'Save the image upright, without that entry, as the label is.'
    if shape != size and orientation >= 5 and shape == size[::-1]:
        raise ValueError(
            f'{path}: the label is {shape[0]}x{shape[1]} (h x w), its image {image} is '
            f'stored as {size[0]}x{size[1]}, and its EXIF orientation {orientation} '
            f'turns it to the size of the label. Images are read as they are '
            f'stored. {advice}'
        )
    if shape != size:
        raise ValueError(
            f'{path}: the label is {shape[0]}x{shape[1]} (h x w), its image {image} is '
            f'{size[0]}x{size[1]}. Make the two the same size.'
        )
    if orientation in (2, 3, 4) or (orientation != 1 and size[0] == size[1]):
        raise ValueError(
            f'{image}: its EXIF orientation is {orientation}, and the size of its '
            f'label {path} does not tell whether it was drawn on the image as it is '
            f'stored or as it is shown. {advice}'
        )
