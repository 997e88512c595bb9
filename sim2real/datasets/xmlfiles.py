"""Read XML files in the encoding that they declare: many labelling tools use that of their system."""

import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from sim2real.datasets.labels import BYTE_ORDER_MARKS
from sim2real.datasets.readers import reading, whole_size

_DECLARED: Final = re.compile(rb"""\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.:-]+)["']""")
_WIDER: Final = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
}  # files that declare the older encoding often contain characters of the newer one


def decode_xml(data: bytes) -> tuple[str, str]:
    """Return the text of an XML file, and the codec that encodes it to the same bytes again.

    The encoding is that of the byte order mark, or the declared one.

    Raises:
        ValueError: If the file is not in the encoding that it declares, or that is unknown.
    """
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), "")
    if not encoding:
        declared = _DECLARED.match(data)
        encoding = declared[1].decode("ascii", "replace").lower() if declared else "utf-8"
        if encoding.startswith(("utf-16", "utf-32", "ucs-")):  # else the declaration would be unreadable
            encoding = "utf-8"
    encoding = _WIDER.get(encoding, encoding)
    try:
        return data.decode(encoding), encoding
    except LookupError as error:
        raise ValueError(f"its encoding '{encoding}' is unknown") from error
    except UnicodeError as error:
        raise ValueError(
            f"it is not in {encoding}, the encoding that it declares or has by default: {error}"
        ) from error


def parse_xml(data: bytes) -> ET.Element:
    """Parse the bytes of an XML file.

    Raises:
        ValueError: If its encoding is unknown or wrong, or it is not XML.
    """
    try:
        return ET.fromstring(decode_xml(data)[0])  # noqa: S314  expat 2.4.1 and later refuse entity bombs
    except ET.ParseError as error:
        raise ValueError(str(error)) from error


def read_xml(path: Path) -> ET.Element:
    """Read an XML file.

    Raises:
        DatasetError: If it cannot be read, its encoding is unknown or wrong, or it is not XML.
    """
    with reading(path, "XML", (OSError, ValueError)):
        return parse_xml(path.read_bytes())


def voc_size(annotation: ET.Element) -> tuple[int, int] | None:
    """Return the image size (W, H) that an XML file of Pascal VOC declares; None if it declares none, or 0."""
    size = annotation.find("size")
    return None if size is None else whole_size(size.findtext("width"), size.findtext("height"))
