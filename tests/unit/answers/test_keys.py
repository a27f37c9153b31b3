"""The key changes with everything that can change the answer, and with nothing else."""

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.answers.keys import EXCLUDED, Key, image_hash, make_key, pattern, question_hash
from sightline.wire.fields import ACCEPTED

CAT, DOG = "ca" * 32, "d0" * 32
BODY: dict[str, Any] = {
    "model": "plates",
    "temperature": 0,
    "messages": [
        {"role": "system", "content": "You read plates."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Compare "},
                {"type": "image_url", "image_url": {"url": "picture:0", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "picture:1"}},
                {"type": "text", "text": "What is on them?"},
            ],
        },
    ],
}


def key(body: dict[str, Any] = BODY, *, revision: str = "r1", policy: str = "p1", **changes: Any) -> Key:
    made: dict[str, Any] = {"tenant": "acme", "generation": "1", "model": "plates", "images": [CAT, DOG], "namespace": ""}
    return make_key(question=question_hash(body, revision=revision, policy=policy), **(made | changes))


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    body = copy.deepcopy(BODY)
    change(body)
    return body


def test_the_same_twice_is_one_key() -> None:
    """The order of members does not matter, that of everything else does."""
    assert key() == key(dict(reversed(copy.deepcopy(BODY).items())))


@pytest.mark.parametrize("field", sorted(ACCEPTED - EXCLUDED))
def test_every_accepted_field_changes_the_key(field: str) -> None:
    """A field that is not excluded by name counts, whatever it is: also one that is accepted only tomorrow."""
    assert key(BODY | {field: "something else"}).answer != key().answer


@pytest.mark.parametrize("field", sorted(EXCLUDED))
def test_what_cannot_change_the_answer_does_not_change_the_key(field: str) -> None:
    assert field in ACCEPTED
    assert key(BODY | {field: "something else"}) == key()


@pytest.mark.parametrize(
    "other",
    [
        key(tenant="other"),
        key(generation="2"),
        key(namespace="night"),
        key(model="plates-lora"),
        key(changed(lambda body: body.update(model="plates-lora"))),
        key(revision="r2"),
        key(policy="p2"),
        key(images=[DOG, CAT]),
        key(images=[CAT, CAT]),
        key(images=[CAT]),
        key(changed(lambda body: body["messages"].pop(0))),
        key(changed(lambda body: body["messages"][0].update(content="You read plates!"))),
        key(changed(lambda body: body["messages"][0].update(content="You read plates. "))),
        key(changed(lambda body: body["messages"][0].update(role="user"))),
        key(changed(lambda body: body["messages"].reverse())),
        key(changed(lambda body: body["messages"][1]["content"].reverse())),
        key(changed(lambda body: body["messages"][1]["content"][1]["image_url"].update(detail="high"))),
        key(changed(lambda body: body["messages"][1]["content"][1]["image_url"].pop("detail"))),
        key(changed(lambda body: body["messages"][1]["content"][0].update(text="Compare"))),
        key(changed(lambda body: body["messages"][1]["content"][3].update(text="What is on them? picture:2"))),
        key(changed(lambda body: body["messages"][1]["content"].insert(0, {"type": "text", "text": "picture:0"}))),
        key(changed(lambda body: body.update(temperature=0.5))),
    ],
    ids=[
        "tenant",
        "generation",
        "namespace",
        "served model",
        "LoRA in the body",
        "revision",
        "preparation policy",
        "picture order",
        "same picture twice",
        "one picture less",
        "no system prompt",
        "system prompt",
        "blank after a system prompt",
        "role",
        "order of messages",
        "order of parts",
        "detail",
        "no detail",
        "blank between two parts",
        "text",
        "text like a placeholder",
        "temperature",
    ],
)
def test_all_that_may_change_the_answer_changes_the_key(other: Key) -> None:
    assert other.answer != key().answer
    assert other.lease != key().lease


def test_words_that_look_like_a_picture_are_words() -> None:
    """A text cannot stand in for a picture: not in a part, not as a whole content, not as JSON within the text."""
    picture = [{"type": "image_url", "image_url": {"url": "picture:0"}}]
    texts: list[Any] = ["picture:0", [{"type": "text", "text": "picture:0"}], '[{"image_url":{"url":"picture:0"},"type":"image_url"}]']
    hashes = {question_hash({"messages": [{"role": "user", "content": c}]}, revision="", policy="") for c in [picture, *texts]}
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [("What is it?", "What is it? \r\n\t "), ("caf\u00e9", "cafe\u0301")],
    ids=["white space at the end", "composed and decomposed"],
)
@pytest.mark.parametrize("shape", [str, lambda text: [{"type": "text", "text": text}]], ids=["text", "part"])
def test_what_reads_alike_is_one_question(one: str, other: str, shape: Callable[[str], Any]) -> None:
    def asked(text: str, role: str = "user", **more: Any) -> str:
        return question_hash({"messages": [{"role": role, "content": shape(text)}]} | more, revision="", policy="")

    assert asked(one) == asked(other)
    assert asked(one, role="assistant") != asked(other, role="assistant")
    assert asked(one, continue_final_message=True) != asked(other, continue_final_message=True)
    assert asked(one, echo=True) != asked(other, echo=True)


@pytest.mark.parametrize(
    "text", [" What is it?", "what is it?", "What  is it?", "What is it?\u00a0", "What is it?\u3000", "\uff37hat is it?"]
)
def test_nothing_more_is_taken_for_alike(text: str) -> None:
    """Case, inner and leading blanks, other white space and compatibility forms may carry meaning."""
    one, other = ({"messages": [{"role": "user", "content": words}]} for words in ("What is it?", text))
    assert question_hash(one, revision="", policy="") != question_hash(other, revision="", policy="")


def test_marks_piled_on_a_letter_take_no_longer_than_other_text() -> None:
    """Put in order, as NFC wants them, these would take minutes, in which nobody else is served."""
    began = time.process_time()
    piled = {
        question_hash({"messages": [{"role": "user", "content": "a" + "\u0300\u0323" * n}]}, revision="", policy="")
        for n in (99_999, 100_000)
    }

    assert len(piled) == 2
    assert time.process_time() - began < 5


@given(st.lists(st.text(max_size=5), min_size=2, max_size=4), st.data())
def test_names_cannot_run_into_each_other(words: list[str], data: st.DataObject) -> None:
    """Two tenants, models and namespaces give one key only where all are equal."""
    other = data.draw(st.permutations(words))
    first = key(tenant=words[0], namespace=words[1])
    second = key(tenant=other[0], namespace=other[1])
    assert (first.answer == second.answer) == (words[:2] == other[:2])


def test_the_hash_of_pictures() -> None:
    assert image_hash([]) is None
    assert image_hash([CAT]) == CAT
    assert image_hash([CAT, DOG]) not in {None, CAT, DOG, image_hash([DOG, CAT]), image_hash([CAT + DOG])}


def test_keys_of_a_picture_lie_together() -> None:
    """One hash tag for the answer, the lease, the group and the epoch of a picture, so that a cluster keeps them on one node."""
    made = key(images=[CAT])
    tags = {name[name.index("{") : name.index("}")] for name in (made.answer, made.lease, made.pictures[0].group, made.pictures[0].epoch)}
    assert len(tags) == 1
    assert made.pictures == key(images=[CAT], model="other").pictures
    assert made.pictures != key(images=[CAT], tenant="other").pictures


def test_an_answer_about_several_pictures_belongs_to_each_and_to_all() -> None:
    """It can be forgotten by any picture in it and by the hash that the response named."""
    made = key()
    assert made.image_hash is not None
    alone = [key(images=[image]).pictures[0] for image in (CAT, DOG, made.image_hash)]
    assert list(made.pictures) == alone


def test_names_in_a_key_are_opaque() -> None:
    """Neither tenant nor model nor picture can be read from a key."""
    made = key(tenant="acme-corporation", model="secret-model", images=[CAT])
    for name in ("acme", "secret", CAT[:16]):
        assert name not in made.answer + made.lease + made.pictures[0].group


@pytest.mark.parametrize(
    "by", [{"tenant": "acme"}, {"image": CAT}, {"model": "plates"}, {"generation": "1"}, {"tenant": "acme", "model": "plates"}]
)
def test_patterns_find_what_they_name(by: dict[str, str]) -> None:
    from fnmatch import fnmatchcase

    others = {"tenant": key(tenant="b", images=[CAT]), "image": key(images=[DOG]), "model": key(model="b", images=[CAT])}
    others["generation"] = key(generation="2", images=[CAT])
    mine = key(images=[CAT])
    assert fnmatchcase(mine.answer, pattern(**by))
    assert not any(fnmatchcase(name, pattern(**by)) for name in (mine.lease, mine.pictures[0].epoch, mine.pictures[0].group))
    for name in by:
        assert not fnmatchcase(others[name].answer, pattern(**by))
