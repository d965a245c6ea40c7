"""Forms with many files, written to a folder as they arrive."""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from patchbank.errors import ImageError, ParameterError

_MOST_HEADER_BYTES = 8_192


class Upload(NamedTuple):
    """The files of a form: where they are now, and what the client calls them."""

    paths: list[Path]
    names: list[str]


class _Files:
    """Writes the files of a field: under numbers, never under a name that a client chose."""

    def __init__(self, folder: Path, field: str, most: int) -> None:
        self._folder, self._field, self._most = folder, field, most
        self._header, self._value, self._disposition = b"", b"", b""
        self._file: IO[bytes] | None = None
        self.upload = Upload([], [])

    def on_part_begin(self) -> None:
        self._header, self._value, self._disposition = b"", b"", b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._check(self._header)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check(self._value)

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"filename")
        if options.get(b"name") != self._field.encode() or name is None:
            raise ParameterError(
                f"the form has a field that is not a file of the field `{self._field}`; "
                "give settings as query parameters"
            )
        paths, names = self.upload
        if len(paths) >= self._most:
            raise ParameterError(f"the form has more than {self._most:,} files; send fewer")
        paths.append(self._folder / f"{len(paths) + 1:06}")
        names.append(name.decode("utf-8", "replace"))
        self._file = paths[-1].open("xb")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._file.write(data[start:end])

    def close(self) -> None:
        """Close the file that is being written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @staticmethod
    def _check(header: bytes) -> None:
        if len(header) > _MOST_HEADER_BYTES:
            raise ParameterError("the form has a header that is too long")


async def received(request: Request, folder: Path, field: str, most: int) -> Upload:
    """Write the files of a request's form to a folder.

    Raises
    ------
    ImageError, ParameterError
        If it has no file, or is not a form of files of this field, at most so many.
    """
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if boundary is None:
        raise ParameterError(f"send a form with the images as files in the field `{field}`")
    files = _Files(folder, field, most)
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": files.on_part_begin,
            "on_header_field": files.on_header_field,
            "on_header_value": files.on_header_value,
            "on_header_end": files.on_header_end,
            "on_headers_finished": files.on_headers_finished,
            "on_part_data": files.on_part_data,
            "on_part_end": files.close,
        },
    )
    try:
        async for data in request.stream():
            parser.write(data)
        parser.finalize()
    except FormParserError as error:
        raise ParameterError(f"the form cannot be read: {error}") from error
    finally:
        files.close()
    if not files.upload.paths:
        raise ImageError(f"the form has no file in the field `{field}`; send the images there")
    return files.upload
