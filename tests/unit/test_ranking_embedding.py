"""Vectors come from the shipped weights or from an endpoint; what goes wrong there is a typed error."""

import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from aiohttp import web

from brainops.errors import BadInputError, UnavailableError
from brainops.memory.ranking.embedding import HttpEmbedder, WordLlamaEmbedder

LOCAL = WordLlamaEmbedder()


async def test_vectors_have_unit_length_and_near_words_are_near() -> None:
    vectors = await LOCAL.embed(["the engine stopped", "the motor halted", "a recipe for soup", ""])
    assert vectors.shape == (4, LOCAL.dimensions)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1).tolist() == pytest.approx([1, 1, 1, 0])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


async def test_any_text_has_a_vector() -> None:
    vectors = await LOCAL.embed(["\0", "\ud800 broken", "x" * 1_000_000])
    assert np.isfinite(vectors).all()


def test_it_is_loaded_once_by_many_threads() -> None:
    embedder, found = WordLlamaEmbedder(), list[float]()
    threads = [
        threading.Thread(target=lambda: found.append(float(embedder.embed_now(["pump"])[0, 0]))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_common_words_are_known() -> None:
    assert LOCAL.is_common_word("reach")
    assert not LOCAL.is_common_word("kubernets")


@dataclass
class Endpoint:
    """An `/embeddings` endpoint that answers as it is told, and notes what it was asked."""

    url: str = ""
    answer: Callable[[list[str]], web.Response] = field(
        default=lambda texts: web.json_response(
            # In reverse, as the protocol allows: the index says which is which.
            {"data": [{"index": place, "embedding": [len(text), 4.0]} for place, text in enumerate(texts)][::-1]}
        )
    )
    asked: list[list[str]] = field(default_factory=list[list[str]])
    keys: list[str] = field(default_factory=list[str])

    async def embeddings(self, request: web.Request) -> web.Response:
        texts: list[str] = (await request.json())["input"]
        self.asked.append(texts)
        self.keys.append(request.headers.get("Authorization", ""))
        return self.answer(texts)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    told = Endpoint()
    app = web.Application()
    app.router.add_post("/v1/embeddings", told.embeddings)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield told
    await runner.cleanup()


async def test_an_endpoint_is_asked_in_batches_with_its_key(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUMP_KEY", "not-a-secret")
    embedder = HttpEmbedder(endpoint.url, "small", 2, key_variable="PUMP_KEY")
    vectors = await embedder.embed(["abc"] * 70 + [""])
    assert vectors.shape == (71, 2)
    assert vectors[0].tolist() == pytest.approx([0.6, 0.8])
    assert [len(texts) for texts in endpoint.asked] == [64, 7]
    assert set(endpoint.keys) == {"Bearer not-a-secret"}
    assert embedder.model == "small"


def answering(body: object, status: int = 200) -> Callable[[list[str]], web.Response]:
    return lambda texts: web.Response(text=json.dumps(body), status=status, content_type="application/json")


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (answering({}, 503), UnavailableError, "answers 503"),
        (answering({}, 429), UnavailableError, "answers 429"),
        (answering({}, 401), BadInputError, "refuses with 401"),
        (answering({"data": [{"index": 0, "embedding": [1, 2, 3]}]}), BadInputError, "gives 3, configured are 2"),
        (answering({"data": []}), BadInputError, "gives 0 vectors for 1 texts"),
        (answering({"choices": []}), BadInputError, "something else"),
        (
            answering({"data": [{"index": 0, "embedding": [1, float("nan")]}]}),
            BadInputError,
            "not finite|something else",
        ),
        (answering("x" * 2_000_000), BadInputError, "more than"),
    ],
)
async def test_what_an_endpoint_does_wrong_is_told(
    endpoint: Endpoint, answer: Callable[[list[str]], web.Response], error: type[Exception], said: str
) -> None:
    endpoint.answer = answer
    with pytest.raises(error, match=said):
        await HttpEmbedder(endpoint.url, "small", 2).embed(["abc"])


async def raised(call: Awaitable[object]) -> str:
    with pytest.raises((BadInputError, UnavailableError)) as caught:
        await call
    return f"{type(caught.value).__name__}: {caught.value}"


async def test_an_endpoint_that_is_not_there_is_unavailable(endpoint: Endpoint) -> None:
    url = endpoint.url.replace("/v1", "")
    assert "refuses with 404" in await raised(HttpEmbedder(url, "small", 2).embed(["abc"]))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert (await raised(HttpEmbedder(f"http://127.0.0.1:{port}", "small", 2).embed(["abc"]))).startswith("Unavailable")


async def test_a_missing_key_and_a_wrong_setting_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUMP_KEY", raising=False)
    assert "PUMP_KEY is not set" in await raised(
        HttpEmbedder("http://127.0.0.1:1", "small", 2, key_variable="PUMP_KEY").embed(["abc"])
    )
    with pytest.raises(BadInputError, match="no http or https address"):
        HttpEmbedder("file:///etc", "small", 2)
    with pytest.raises(BadInputError, match="between 1 and"):
        HttpEmbedder("http://127.0.0.1:1", "small", 0)
