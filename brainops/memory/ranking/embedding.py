"""Texts as vectors: by static word vectors in this process, or by any OpenAI-compatible endpoint.

The default needs no network and no model server: the 256 dimensions of WordLlama (`l2_supercat`), whose weights come in
its wheel. They are read straight from that wheel, mapped and shared between processes, since importing the package takes
0.5 s and 80 MB and sets up logging for the whole process; so it is 0.1 s and 20 MB, with the same vectors [measured].

A vector belongs to the model that made it: rows keep `model` beside it, and are embedded anew when that changes.
"""

import asyncio
import json
import mmap
import os
import struct
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from brainops.errors import BadInputError, SetupError, UnavailableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    Vectors = NDArray[np.float32]
    """One row a text, each of unit length; a text without any known word is all zeros."""

MAX_TEXT: Final = 20_000
"""Characters of a text that are embedded; a chunk is shorter."""

_INLINE = 4
"""So many short texts are embedded at once where they are asked for; more go to a thread."""

_INLINE_CHARACTERS = 4_000

_BATCH = 64
"""Texts in one request to an endpoint."""


class Embedder(Protocol):
    """What turns texts into vectors."""

    @property
    def model(self) -> str:
        """The name under which its vectors are kept; vectors of two names are never compared."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        ...

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """One row of `dimensions` numbers for each of `texts`, each of unit length or, for a text without words, zero.

        Raises UnavailableError when the same call may succeed later, and BadInputError when it will not.
        """
        ...


class WordLlamaEmbedder:
    """Mean of static word vectors; 256 dimensions, about 12 µs a short text. Loads at its first use, and once."""

    def __init__(self) -> None:
        self.model = "wordllama/l2_supercat_256"
        self.dimensions = 256
        self._lock = threading.Lock()
        self._loaded: tuple[Tokenizer, NDArray[np.float16]] | None = None

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """Vectors of `texts`. Raises SetupError when the package's weights are missing or are not those expected."""
        short = len(texts) <= _INLINE and sum(map(len, texts)) <= _INLINE_CHARACTERS
        return self.embed_now(texts) if short and self._loaded else await asyncio.to_thread(self.embed_now, texts)

    def embed_now(self, texts: Sequence[str]) -> "Vectors":
        """`embed` for a caller that is in a thread of its own already; safe from several threads."""
        import numpy as np  # noqa: PLC0415 - idle processes do without

        tokenizer, weights = self._load()
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            # One by one: a batch would start threads in the tokenizer, which then warns at each fork.
            pieces = tokenizer.encode(_encodable(text), add_special_tokens=False).ids
            if pieces:
                vectors[row] = weights[pieces].astype(np.float32).mean(axis=0)
        return unit(vectors)

    def is_common_word(self, word: str) -> bool:
        """Whether a lower-case word is among the 32,000 commonest pieces of text; what is, is no misspelt name."""
        tokenizer, _ = self._load()
        return tokenizer.token_to_id(f"\N{LOWER ONE EIGHTH BLOCK}{word}") is not None

    def _load(self) -> "tuple[Tokenizer, NDArray[np.float16]]":
        with self._lock:
            if self._loaded is None:
                self._loaded = _tokenizer(), _weights(self.dimensions)
            return self._loaded


def unit(vectors: "NDArray[np.floating[Any]]") -> "Vectors":
    """`vectors` at unit length, zeros left as they are."""
    import numpy as np  # noqa: PLC0415

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _folder() -> Path:
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise SetupError("the package wordllama is not installed; install it, or configure an embedding endpoint")
    return Path(spec.submodule_search_locations[0])


def _tokenizer() -> "Tokenizer":
    from tokenizers import Tokenizer  # noqa: PLC0415 - 20 MB

    path = _folder() / "tokenizers" / "l2_supercat_tokenizer_config.json"
    if not path.is_file():
        raise SetupError(f"the package wordllama has no {path.name}; install wordllama 0.4")
    return Tokenizer.from_file(str(path))


def _weights(dimensions: int) -> "NDArray[np.float16]":
    """The matrix as the file has it (safetensors: length of the header, header, numbers), mapped and not read."""
    import numpy as np  # noqa: PLC0415

    path = _folder() / "weights" / f"l2_supercat_{dimensions}.safetensors"
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        (length,) = struct.unpack_from("<Q", mapped)
        told = json.loads(mapped[8 : 8 + length])["embedding.weight"]
        rows, columns = told["shape"]
        start, end = told["data_offsets"]
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise SetupError(
            f"{path.name} of the package wordllama cannot be read ({error}); install wordllama 0.4"
        ) from error
    if told["dtype"] != "F16" or columns != dimensions or end - start != rows * columns * 2:
        raise SetupError(f"{path.name} of the package wordllama has another form than expected; install wordllama 0.4")
    return np.frombuffer(mapped, np.float16, rows * columns, 8 + length + start).reshape(rows, columns)


class HttpEmbedder:
    """An OpenAI-compatible `/embeddings` endpoint.

    `url` is its base, such as `http://127.0.0.1:11434/v1`; `key_variable` names the environment variable that holds the
    key, read at each call, and may be left out for an endpoint without one. It does not retry: its caller does.
    """

    def __init__(
        self, url: str, model: str, dimensions: int, *, key_variable: str = "", timeout_seconds: float = 30.0
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise BadInputError(f"embedder url: {url!r} is no http or https address; give one such as https://host/v1")
        if not 1 <= dimensions <= 8_192:
            raise BadInputError(f"embedder dimensions: {dimensions} is not between 1 and 8,192")
        self._url = url.rstrip("/") + "/embeddings"
        self._name = model
        self._dimensions = dimensions
        self._key_variable = key_variable
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    @property
    def model(self) -> str:
        """The endpoint's name of the model."""
        return self._name

    @property
    def dimensions(self) -> int:
        """As configured; an answer of another size is refused."""
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """Vectors of `texts`, asked for in batches.

        Raises UnavailableError when the endpoint does not answer, is busy (408, 429) or fails (5xx), and BadInputError
        when it refuses (other 4xx) or answers with something else than vectors of `dimensions` numbers.
        """
        import numpy as np  # noqa: PLC0415

        vectors = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        async with aiohttp.ClientSession(timeout=self._timeout, headers=self._headers()) as session:
            for start in range(0, len(texts), _BATCH):
                batch = [_encodable(text) or " " for text in texts[start : start + _BATCH]]
                vectors[start : start + len(batch)] = self._read(await self._ask(session, batch), len(batch))
        return unit(vectors)

    def _headers(self) -> dict[str, str]:
        if not self._key_variable:
            return {}
        key = os.environ.get(self._key_variable, "")
        if not key:
            raise BadInputError(f"the embedder's key: {self._key_variable} is not set; set it in the environment")
        return {"Authorization": f"Bearer {key}"}

    async def _ask(self, session: aiohttp.ClientSession, batch: Sequence[str]) -> bytes:
        limit = 1_000_000 + len(batch) * self._dimensions * 32
        try:
            async with session.post(self._url, json={"model": self._name, "input": batch}) as answer:
                body = await _read_at_most(answer, limit)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"the embedder at {self._url} does not answer: {type(error).__name__}"
            raise UnavailableError(message) from error
        if status in {408, 429} or status >= 500:
            raise UnavailableError(f"the embedder at {self._url} answers {status}")
        if status != 200:
            raise BadInputError(f"the embedder at {self._url} refuses with {status}; check its model, key and url")
        return body

    def _read(self, body: bytes, wanted: int) -> "NDArray[np.float64]":
        import numpy as np  # noqa: PLC0415

        try:
            rows = sorted(_Answer.model_validate_json(body).data, key=lambda row: row.index)
        except ValidationError as error:
            raise BadInputError(f"the embedder at {self._url} answers with something else than embeddings") from error
        if [row.index for row in rows] != list(range(wanted)):
            raise BadInputError(f"the embedder at {self._url} gives {len(rows)} vectors for {wanted} texts")
        for row in rows:
            if len(row.embedding) != self._dimensions:
                message = f"the embedder's dimensions: {self._name} gives {len(row.embedding)}, configured are {self._dimensions}"
                raise BadInputError(message)
        vectors = np.array([row.embedding for row in rows], dtype=np.float64)
        if not np.isfinite(vectors).all():
            raise BadInputError(f"the embedder at {self._url} gives numbers that are not finite")
        return vectors


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    index: int
    embedding: list[float]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    data: list[_Row]


async def _read_at_most(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_chunked(65_536):
        body += piece
        if len(body) > limit:
            raise BadInputError(f"the embedder answers with more than {limit:,} bytes")
    return bytes(body)


def _encodable(text: str) -> str:
    """What is embedded of `text`: its beginning, without what UTF-8 cannot say."""
    return text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
