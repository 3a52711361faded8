"""The real clients of other servers speak to this one: of OpenAI, DeepL and LibreTranslate, as they come from PyPI."""

import json
import math
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deepl
import numpy as np
import openai
import pytest
from libretranslatepy import LibreTranslateAPI

from tests.serving import Server, serving

KEY, OTHER = "first-key-0123456789", "second-key-9876543210"
ZH = "我们今天在家。"


@pytest.fixture(scope="module")
def guarded(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two keys."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(f"# who may ask\n{KEY}\n\n{OTHER}\n", encoding="utf-8")
    with serving(f"mt={toy_run}", options=["--api-key", keys]) as server:
        yield server


OPENED: list[Any] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Closes the connections of a test's clients."""
    yield
    while OPENED:
        OPENED.pop().close()


def openai_of(server: Server, key: str = "any") -> openai.OpenAI:
    OPENED.append(openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0))
    return OPENED[-1]  # type: ignore[no-any-return]


def deepl_of(server: Server, key: str = "any") -> deepl.DeepLClient:
    OPENED.append(deepl.DeepLClient(key, server_url=server.url))
    return OPENED[-1]  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------------------ OpenAI


def test_openai_lists_models(toy_server: Server) -> None:
    client = openai_of(toy_server)
    assert [model.id for model in client.models.list()] == ["mt", "lm", "bert"]
    model = client.models.retrieve("lm")
    assert (model.id, model.object, model.owned_by) == ("lm", "model", "clearhead")
    assert model.created > 1_700_000_000


def test_openai_completes(toy_server: Server) -> None:
    client = openai_of(toy_server)
    asked: Any = {"model": "lm", "prompt": "我们", "max_tokens": 12, "temperature": 0}
    whole = client.completions.create(**asked, logprobs=2)
    assert whole.object == "text_completion"
    assert whole.id.startswith("cmpl-")
    (choice,) = whole.choices
    assert choice.text
    assert choice.finish_reason in ("stop", "length")
    told = choice.logprobs
    assert told is not None
    assert told.tokens is not None
    assert told.token_logprobs is not None
    assert told.top_logprobs is not None
    assert len(told.tokens) == len(told.token_logprobs) == whole.usage.completion_tokens  # type: ignore[union-attr]
    for token, log_prob, top in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
        assert log_prob <= 0
        assert len(top) <= 2
        assert max(top, key=lambda name: top[name]) == token, "a greedy text takes the best"
    echoed = client.completions.create(**asked, echo=True)
    assert echoed.choices[0].text == "我们" + choice.text


def test_openai_streams_what_it_completes(toy_server: Server) -> None:
    client = openai_of(toy_server)
    asked: Any = {"model": "lm", "prompt": ["我们", "她"], "max_tokens": 9, "temperature": 0.8, "seed": 5, "n": 2}
    whole = client.completions.create(**asked)
    texts, reasons, counts, parts = [""] * 4, [""] * 4, None, 0
    for part in client.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        if part.usage:
            counts = part.usage
            assert part.choices == []
        for choice in part.choices:
            texts[choice.index] += choice.text
            parts += 1
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.text for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert counts == whole.usage
    assert parts > 8, "they came one by one"


def test_openai_biases_and_bans(toy_server: Server) -> None:
    client = openai_of(toy_server)
    asked: Any = {"model": "lm", "prompt": "我们", "max_tokens": 6, "temperature": 0, "logprobs": 0}
    free = client.completions.create(**asked).choices[0].text
    assert client.completions.create(**asked, logit_bias={"9": 100}).usage.completion_tokens == 6  # type: ignore[union-attr]
    one = client.completions.create(**asked, logit_bias={"9": 100}).choices[0]
    assert one.logprobs is not None
    assert len(set(one.logprobs.tokens or [])) == 1
    assert one.text != free
    banned = client.completions.create(**asked, extra_body={"bad_words": [free[:1]]}).choices[0].text
    assert free[:1] not in banned


def test_openai_chats_with_a_translator(toy_server: Server) -> None:
    client = openai_of(toy_server)
    messages: Any = [{"role": "system", "content": "Translate."}, {"role": "user", "content": ZH}]
    whole = client.chat.completions.with_raw_response.create(model="mt", messages=messages)
    assert whole.headers["x-clearhead-ignored-messages"] == "1"
    said = whole.parse()
    text = said.choices[0].message.content
    assert text == toy_server.post("/translate", {"q": ZH, "source": "zh", "target": "en"}).json["translatedText"]
    parts = list(client.chat.completions.create(model="mt", messages=messages, stream=True))
    assert "".join(part.choices[0].delta.content or "" for part in parts) == text
    assert parts[0].choices[0].delta.role == "assistant"
    assert parts[-1].choices[0].finish_reason == said.choices[0].finish_reason
    spoken: Any = [{"role": "user", "content": [{"type": "text", "text": ZH}]}]
    assert client.chat.completions.create(model="mt", messages=spoken).choices[0].message.content == text
    assert client.completions.create(model="mt", prompt=ZH).choices[0].text == text


@pytest.mark.parametrize("beam", [1, 5])
def test_openai_streams_a_translation_as_far_as_it_is_settled(beam: int, toy_server: Server) -> None:
    client, several = openai_of(toy_server), "\n".join([ZH, "我妹妹不骑自行车。她们在学校。", "", "他喝水。"] * 4)
    asked: Any = {"model": "mt", "messages": [{"role": "user", "content": several}], "extra_body": {"beam": beam}}
    whole = client.chat.completions.create(**asked)
    parts = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    contents = [part.choices[0].delta.content for part in parts if part.choices and part.choices[0].delta.content]
    assert "".join(contents) == whole.choices[0].message.content
    assert parts[-1].usage == whole.usage


def test_openai_embeds_in_either_form(toy_server: Server) -> None:
    client = openai_of(toy_server)
    texts = ["She is at home.", "We eat."]
    packed = client.embeddings.create(model="bert", input=texts)  # asks for base64 by itself
    plain = client.embeddings.create(model="bert", input=texts, encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-7)
        assert math.isfinite(sum(one.embedding))
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 4


@pytest.mark.parametrize(
    ("call", "error", "param"),
    [
        (lambda c: c.completions.create(model="gone", prompt=""), openai.NotFoundError, "model"),
        (lambda c: c.completions.create(model="bert", prompt=""), openai.BadRequestError, "model"),
        (lambda c: c.embeddings.create(model="lm", input=""), openai.BadRequestError, "model"),
        (lambda c: c.completions.create(model="lm", prompt="", n=99), openai.BadRequestError, "n"),
        (lambda c: c.completions.create(model="lm", prompt="", temperature=-1), openai.BadRequestError, "temperature"),
        (lambda c: c.completions.create(model="lm", prompt="", suffix="x"), openai.BadRequestError, "suffix"),
        (
            lambda c: c.completions.create(model="lm", prompt="", logit_bias={"x": 1}),
            openai.BadRequestError,
            "logit_bias",
        ),
        (lambda c: c.chat.completions.create(model="lm", messages=[]), openai.BadRequestError, "model"),
        (lambda c: c.chat.completions.create(model="mt", messages=[]), openai.BadRequestError, "messages"),
    ],
)
def test_openai_raises_what_it_is_told(
    call: Any, error: type[openai.APIStatusError], param: str, toy_server: Server
) -> None:
    with pytest.raises(error) as raised:
        call(openai_of(toy_server))
    assert raised.value.param == param  # type: ignore[attr-defined]
    assert "\n" not in raised.value.message


def test_openai_needs_a_key_that_is_known(guarded: Server) -> None:
    assert [model.id for model in openai_of(guarded, OTHER).models.list()] == ["mt"]
    with pytest.raises(openai.AuthenticationError) as raised:
        openai_of(guarded, "nobody's-key-0000").models.list()
    assert raised.value.code == "invalid_api_key"
    assert "nobody" not in str(raised.value)


# ------------------------------------------------------------------------------------------------------------- DeepL


def test_deepl_translates(toy_server: Server) -> None:
    client = deepl_of(toy_server)
    one = client.translate_text(ZH, target_lang="EN-US")
    assert isinstance(one, deepl.TextResult)
    assert (one.detected_source_lang, one.billed_characters) == ("ZH", len(ZH))
    plain = toy_server.post("/translate", {"q": ZH, "source": "zh", "target": "en"}).json["translatedText"]
    assert one.text == plain
    several = client.translate_text([ZH, "", ZH], source_lang="ZH", target_lang="EN-GB", formality="prefer_more")
    assert [each.text for each in several] == [plain, "", plain]  # type: ignore[union-attr]
    lines = client.translate_text(f"{ZH}\n\n{ZH}", source_lang="ZH", target_lang="EN-GB")
    assert lines.text == f"{plain}\n\n{plain}"  # type: ignore[union-attr]


def test_deepl_tells_languages_and_usage(toy_server: Server) -> None:
    client = deepl_of(toy_server)
    assert [(each.code, each.name) for each in client.get_source_languages()] == [("ZH", "Chinese")]
    assert {each.code for each in client.get_target_languages()} == {"EN-US", "EN-GB"}
    before = client.get_usage().character.count
    client.translate_text("你好", target_lang="EN-US")
    after = client.get_usage().character
    assert (before or 0) + 2 == after.count
    assert not after.limit_reached


def test_deepl_glossaries_are_kept_and_carried_out(toy_server: Server) -> None:
    client = deepl_of(toy_server)
    assert [(each.source_lang, each.target_lang) for each in client.get_glossary_languages()] == [("zh", "en")]
    plain = client.translate_text(ZH, source_lang="ZH", target_lang="EN-US").text  # type: ignore[union-attr]
    word = "wine"
    assert word not in plain
    made = client.create_glossary("kitchen", "ZH", "EN", {"今天": word, "没有": "nothing"})
    assert (made.name, made.ready, made.entry_count) == ("kitchen", True, 2)
    assert client.get_glossary(made.glossary_id).glossary_id == made.glossary_id
    assert made.glossary_id in [each.glossary_id for each in client.list_glossaries()]
    assert client.get_glossary_entries(made) == {"今天": word, "没有": "nothing"}
    bound = client.translate_text(ZH, source_lang="ZH", target_lang="EN-US", glossary=made).text  # type: ignore[union-attr]
    assert word in bound
    free = client.translate_text("她在吗？", source_lang="ZH", target_lang="EN-US", glossary=made).text  # type: ignore[union-attr]
    assert free == client.translate_text("她在吗？", source_lang="ZH", target_lang="EN-US").text  # type: ignore[union-attr]
    client.delete_glossary(made)
    with pytest.raises(deepl.GlossaryNotFoundException):
        client.get_glossary(made.glossary_id)


def test_deepl_raises_what_it_is_told(toy_server: Server, guarded: Server) -> None:
    client = deepl_of(toy_server)
    with pytest.raises(deepl.DeepLException, match="target_lang"):
        client.translate_text(ZH, target_lang="FR")
    with pytest.raises(deepl.DeepLException, match="formality"):
        client.translate_text(ZH, target_lang="EN-US", formality="more")
    marked = client.translate_text(f"<p><b>{ZH}</b></p>", target_lang="EN-US", tag_handling="xml", ignore_tags=["i"])
    assert isinstance(marked, deepl.TextResult)
    assert marked.text == f"<p><b>{client.translate_text(ZH, target_lang='EN-US')}</b></p>"
    with pytest.raises(deepl.DeepLException):
        client.list_multilingual_glossaries()
    with pytest.raises(deepl.AuthorizationException):
        deepl_of(guarded, "nobody's-key-0000").get_usage()
    assert deepl_of(guarded, KEY).translate_text(ZH, target_lang="EN-US").text  # type: ignore[union-attr]


def test_deepl_keeps_the_glossaries_of_keys_apart(guarded: Server) -> None:
    mine, other = deepl_of(guarded, KEY), deepl_of(guarded, OTHER)
    made = mine.create_glossary("mine", "ZH", "EN", {"今天": "today"})
    assert other.list_glossaries() == []
    for call in (other.get_glossary, other.get_glossary_entries, other.delete_glossary):
        with pytest.raises(deepl.GlossaryNotFoundException):
            call(made.glossary_id)
    before = other.get_usage().character.count
    mine.translate_text(ZH, target_lang="EN-US")
    assert other.get_usage().character.count == before


# ----------------------------------------------------------------------------------------------------- LibreTranslate


def test_libretranslate_translates_and_detects(toy_server: Server) -> None:
    client = LibreTranslateAPI(toy_server.url)
    text = client.translate(ZH, "zh", "en")
    assert text
    assert client.translate(ZH, "auto", "en") == text
    assert client.translate(f"{ZH}\r\n{ZH}", "zh", "en") == f"{text}\n{text}"
    (guess,) = client.detect(ZH)
    assert guess["language"] == "zh"
    assert guess["confidence"] > 90
    assert client.languages() == [{"code": "zh", "name": "Chinese", "targets": ["en"]}]


def test_libretranslate_raises_what_it_is_told(toy_server: Server, guarded: Server) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        LibreTranslateAPI(toy_server.url).translate(ZH, "zh", "zz")
    OPENED.append(raised.value)
    assert raised.value.code == 400
    assert json.loads(raised.value.read()) == {"error": "zz is not supported"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        LibreTranslateAPI(guarded.url, "nobody's-key-0000").translate(ZH, "zh", "en")
    OPENED.append(refused.value)
    assert refused.value.code == 403
    assert LibreTranslateAPI(guarded.url, KEY).translate(ZH, "zh", "en")
    assert LibreTranslateAPI(guarded.url).languages()
