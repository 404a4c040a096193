"""Methods and regimes in a recipe: by name or with keys of their own, refused by name where unknown."""

from __future__ import annotations

import pytest

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.records.recipe import Distill, Train, dump, parse
from deploycompress.records.recipe_blocks import by_name
from deploycompress.records.recipe_methods import BLOCKS, AnyMethod, Hinton
from deploycompress.records.recipe_regimes import MultiTask, Mutual, SemiSupervised, Tail

DISTILL = "{teacher: a, teacher_checkpoint: b, student: c, data: d, output: e, method: %s}"
TRAIN = "{model: a, data: d, output: e, regime: %s}"


def recipe(step: str) -> str:
    return f"name: n\ntarget: t\nout: o\nsteps:\n- {step}\n"


def test_step_without_method_is_hinton() -> None:
    (step,) = parse(recipe("distill: " + DISTILL.replace(", method: %s", ""))).steps
    assert isinstance(step, Distill)
    assert step.method == Hinton()


@pytest.mark.parametrize("text", ["tail", "{tail: {}}"])
def test_name_alone_stands_for_the_defaults(text: str) -> None:
    (step,) = parse(recipe("train: " + TRAIN % text)).steps
    assert isinstance(step, Train)
    assert (step.regime.kind, step.regime) == ("tail", Tail.model_validate({"kind": "tail"}))


@pytest.mark.parametrize(
    "step",
    [
        "train: " + TRAIN % "{tail: {rho: 0.25}}",
        "train: " + TRAIN % "{mutual: {peer: m.py:other}}",
        "distill: " + DISTILL % "teacher_only",
        "distill: " + DISTILL % "{semi_supervised: {pool: p, targets: hard}}",
    ],
)
def test_text_and_recipe_are_one_another(step: str) -> None:
    once = parse(recipe(step))
    again = parse(dump(once))
    assert again == once
    assert dump(again) == dump(once)
    assert "kind" not in dump(once)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (DISTILL % "hintn", r"step 1, distill, method: unknown method 'hintn'; did you mean hinton"),
        (DISTILL % "{semi_supervised: {pol: x}}", r"method, semi_supervised, (pool: the key is missing|pol: unknown)"),
        (DISTILL % "{semi_supervised: {pool: x, ramp: 2}}", r"method, semi_supervised, ramp: Input should be less"),
        (DISTILL % "3", r"method: a method is one key with its parameters below it, e\.g\. 'hinton: \{\}'"),
    ],
)
def test_wrong_method_is_refused_by_name(step: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(recipe("distill: " + step))


def test_unknown_key_of_a_regime_lists_its_own_keys() -> None:
    with pytest.raises(UnknownNameError, match=r"regime, tail, rh: unknown key 'rh'; did you mean rho\?"):
        parse(recipe("train: " + TRAIN % "{tail: {rh: 0.5}}"))


def test_every_name_is_of_one_class() -> None:
    assert len(by_name(AnyMethod)) == len(AnyMethod.__args__)  # type: ignore[attr-defined]
    for classes in BLOCKS.values():
        for name, kind in classes.items():
            assert kind.model_fields["kind"].default == name
            assert kind.reads <= set(kind.model_fields)


def test_paths_are_made_whole_and_nothing_else() -> None:
    def read(text: str) -> str:
        return f"/there/{text}"

    assert SemiSupervised(pool="p.py:f").placed(read).pool == "/there/p.py:f"  # type: ignore[attr-defined]
    assert Mutual(peer="m").placed(read) == Mutual(peer="/there/m")
    assert Tail().placed(read) == Tail()
    placed = MultiTask(teachers=("a", "b"), teacher_checkpoints=("x", "y")).placed(read)
    assert placed == MultiTask(teachers=("/there/a", "/there/b"), teacher_checkpoints=("/there/x", "/there/y"))
