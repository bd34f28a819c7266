"""mergekit's YAML in theta's grammar: for any names, the values that mergekit would take."""

from collections.abc import Sequence

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from theta.merge.mergekit import FAMILIES, read_mergekit
from theta.merge.rules import find_rule, parse_choice, parse_rule
from theta.strategies import STRATEGIES
from theta_store.errors import UsageError

LABELS = {"a": "ours", "b": "rte", "org/b-7b": "rte"}

LINEAR = """
merge_method: linear
models:
  - model: a
    parameters: {weight: 0.3}
  - model: b
    parameters:
      weight:
        - filter: mlp
          value: 2
        - value: 1e-1
dtype: float32
"""


def _rules(text: str) -> tuple[str, tuple[str, ...]]:
    return read_mergekit(text, "m.yml").rules(LABELS)


def _refused(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_mergekit(text, "m.yml").rules(LABELS)
    return caught.value.message


def test_weights_of_models_and_a_filter() -> None:
    default, rules = _rules(LINEAR)
    assert default == "linear weight=ours:0.3,rte:0.1"
    assert rules == ("*mlp* linear weight=ours:0.3,rte:2",)
    assert read_mergekit(LINEAR, "m.yml").dtype == "F32"


def test_the_base_is_no_side() -> None:
    text = """
merge_method: ties
base_model: base
models:
  - model: base
  - model: a
    parameters: {density: 0.5, weight: 0.3}
  - model: org/b-7b
    parameters: {density: 0.5, weight: 0.7}
parameters: {normalize: true, int8_mask: true, lambda: 0.9}
"""
    made = read_mergekit(text, "m.yml")
    assert (made.models, made.base) == (("a", "org/b-7b"), "base")
    assert sorted(made.rules(LABELS)[0].split()) == [
        "density=0.5",
        "lambda=0.9",
        "normalize=true",
        "ties",
        "weight=ours:0.3,rte:0.7",
    ]


def test_the_usual_slerp_of_one_slice() -> None:
    text = """
slices:
  - sources:
      - {model: a, layer_range: [0, 32]}
      - {model: b, layer_range: [0, 32]}
merge_method: slerp
base_model: b
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 0.3, 0.7, 1]
    - filter: mlp
      value: [1, 0.5, 0.7, 0.3, 0]
    - value: 0.5
dtype: bfloat16
"""
    made = read_mergekit(text, "m.yml")
    default, rules = made.rules(LABELS)
    assert (made.models, made.base, made.layers) == (("b", "a"), None, 32)
    assert default == "slerp t=0.5 ends=rte:0,ours:1"
    assert rules == (
        "*mlp* slerp t=gradient(1,0.5,0.7,0.3,0) ends=rte:0,ours:1",
        "*self_attn* slerp t=gradient(0,0.5,0.3,0.7,1) ends=rte:0,ours:1",
    )


PARTS = ["mlp", "attn", "self_attn", "lp.up", "up"]
SETTINGS = st.lists(st.tuples(st.sampled_from(PARTS), st.integers(1, 3)), max_size=2).map(
    lambda found: [*found, (None, 9)]
)
NAMES = ["x.mlp.up", "x.mlp.down", "self_attn.q", "attn", "attn.mlp.up", "up.self_attn", "norm"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PARTS), st.integers(1, 2)), max_size=5))
def test_filters_that_all_parameters_share(found: list[tuple[str, int]]) -> None:
    setting = [*({"filter": part, "value": value} for part, value in found), {"value": 1}]
    document = {
        "merge_method": "ties",
        "base_model": "base",
        "models": [{"model": "a"}, {"model": "b"}],
        "parameters": {"weight": 1, "lambda": setting},
    }
    default, lines = _rules(yaml.safe_dump(document))
    assert len(lines) <= len(found)
    rules = [parse_rule(line) for line in lines]
    for name in NAMES:
        rule = find_rule(rules, "m.safetensors", name)
        choice = parse_choice(default) if rule is None else rule.choice
        expected = _evaluated([*found, (None, 1)], name)
        assert dict(choice.parameters)["lambda"] == str(expected), name


def test_very_many_filters() -> None:
    def entries(order: range) -> list[dict[str, object]]:
        return [*({"filter": f"layers.{n}.", "value": n} for n in order), {"value": 1}]

    models = [{"model": "a"}, {"model": "b", "parameters": {"weight": 1}}]
    document = {"merge_method": "linear", "models": models}
    shared = {"parameters": {"weight": entries(range(40))}}
    assert len(_rules(yaml.safe_dump({**document, **shared}))[1]) == 40
    models[1]["parameters"] = {"weight": entries(range(39, -1, -1))}
    assert "40 filters" in _refused(yaml.safe_dump({**document, **shared}))


def _evaluated(settings_: Sequence[tuple[str | None, float]], name: str) -> float:
    """Return what mergekit takes: the value of the first filter that is part of the name."""
    return next(value for part, value in settings_ if part is None or part in name)


@settings(deadline=None)
@given(SETTINGS, SETTINGS)
def test_every_name_gets_the_values_of_its_first_filters(
    one: list[tuple[str | None, float]], two: list[tuple[str | None, float]]
) -> None:
    def spelled(found: Sequence[tuple[str | None, float]]) -> str:
        entries = [
            f"{{value: {v}}}" if part is None else f"{{filter: {part}, value: {v}}}"
            for part, v in found
        ]
        return f"[{', '.join(entries)}]"

    text = (
        "merge_method: linear\nmodels:\n"
        f"- {{model: a, parameters: {{weight: {spelled(one)}}}}}\n"
        f"- {{model: b, parameters: {{weight: {spelled(two)}}}}}\n"
    )
    default, lines = _rules(text)
    rules = [parse_rule(line) for line in lines]
    for name in NAMES:
        rule = find_rule(rules, "m.safetensors", name)
        choice = parse_choice(default) if rule is None else rule.choice
        expected = f"ours:{_evaluated(one, name)},rte:{_evaluated(two, name)}"
        assert dict(choice.parameters)["weight"] == expected, name


BASED = "merge_method: {}\nbase_model: base\nmodels: [{{model: a}}, {{model: b}}]\nparameters: {}\n"


@pytest.mark.parametrize("method", FAMILIES)
def test_every_method_becomes_a_strategy(method: str) -> None:
    family = FAMILIES[method]
    base = "a" if family.base == "start" else "base"
    given_ = {key: 0.5 for key, p in family.parameters.items() if p.required}
    text = BASED.format(method, given_).replace("base_model: base", f"base_model: {base}")
    default, rules = _rules(text)
    assert parse_choice(default).strategy in STRATEGIES.ids()
    assert not rules


def test_flags_are_translated() -> None:
    dare = BASED.format("dare_ties", "{weight: 1, rescale: false, density: 0.5}")
    assert "rescale=none" in _rules(dare)[0]
    assert (
        "vectors=rows" in _rules(BASED.format("nuslerp", "{weight: 1, nuslerp_flatten: false}"))[0]
    )
    without = "merge_method: nuslerp\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}\n"
    assert "deltas=false" in _rules(without)[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "this is no YAML"),
        ("- 1", "no merge configuration"),
        ("merge_method: magic\nmodels: [{model: a}]", "merge_method magic"),
        ("merge_method: linear", "no models"),
        ("merge_method: linear\nmodules: {}\nmodels: [{model: a}]", "modules"),
        (LINEAR + "tokenizer_source: union", "tokenizer_source union"),
        (LINEAR + "chat_template: auto", "chat_template"),
        (LINEAR.replace("float32", "int8"), "dtype int8"),
        (LINEAR.replace("filter: mlp", "filter: mlp\n          model: x"), "the setting"),
        (LINEAR.replace("{weight: 0.3}", "{}"), "weight of a has no value"),
        (
            LINEAR.replace("{weight: 0.3}", "{weight: [{filter: x, value: 1}]}"),
            "weight of a has no",
        ),
        (LINEAR.replace("0.3", "some"), "weight some"),
        (LINEAR.replace("weight: 0.3", "wait: 0.3"), "wait of linear"),
        (LINEAR.replace("model: a", "model: a+lora"), "adapter"),
        (LINEAR.replace("model: b", "model: a"), "named twice"),
        (LINEAR.replace("model: a", "name: a"), "without a model"),
        ("merge_method: ties\nmodels: [{model: a}, {model: b}]", "ties without a base_model"),
        (BASED.format("ties", "{weight: 1, rescale: true}"), "rescale True"),
        (BASED.format("slerp", "{t: 0.5}"), "2 models beside the base_model"),
        (
            "merge_method: passthrough\nslices: [{sources: [{model: a}]}, {sources: [{model: b}]}]",
            "merge_method passthrough; slices",
        ),
        (
            "merge_method: linear\nslices: [{sources: [{model: a, layer_range: [2, 4]}]}]",
            "layers apart",
        ),
        ("merge_method: linear\nslices: [{sources: 7}]", "no sources"),
    ],
)
def test_what_cannot_be_said_is_named(text: str, words: str) -> None:
    message = _refused(text)
    assert words in message
    assert message.startswith("m.yml")


SCALARS = st.sampled_from([None, True, 0, 1, -1, 0.5, "a", "b", "*", "mlp", "1e-4", float("nan")])
WORDS = (
    "model models slices sources layer_range parameters weight t filter value base_model dtype "
    "density normalize tokenizer_source"
)
KEYS = st.sampled_from(WORDS.split())
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | SCALARS, inner, max_size=4),
    max_leaves=12,
)


def _message(document: object) -> str:
    """Return why a document is refused; empty where it is not."""
    try:
        read_mergekit(yaml.safe_dump(document), "m.yml").rules(LABELS | {"base": "base"})
    except UsageError as error:
        return error.message
    return ""


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([*FAMILIES, "x"]), st.dictionaries(KEYS, ANYTHING, max_size=5))
def test_any_document_is_read_or_refused(method: str, document: dict[str, object]) -> None:
    message = _message({"merge_method": method, **document})
    assert not message or message.startswith("m.yml")


@settings(deadline=None, max_examples=200)
@given(ANYTHING, ANYTHING)
def test_any_parameters_are_read_or_refused(own: object, shared: object) -> None:
    models = [{"model": "a", "parameters": {"weight": own}}, {"model": "b"}]
    shares = {"weight": shared, "density": own, "lambda": shared, "normalize": own}
    document = {"merge_method": "ties", "base_model": "base", "models": models}
    message = _message({**document, "parameters": shares})
    assert not message or message.startswith("m.yml")


def test_a_density_for_each_model_is_refused() -> None:
    text = (
        "merge_method: ties\nbase_model: base\nparameters: {weight: 1}\nmodels:\n"
        "- {model: a, parameters: {density: 0.5}}\n- {model: b, parameters: {density: 0.4}}\n"
    )
    assert "density differs between models" in _refused(text)
    assert "some models only" in _refused(text.replace("parameters: {density: 0.4}", ""))


def test_all_that_is_wrong_is_named_at_once() -> None:
    message = _refused(LINEAR.replace("linear", "magic") + "tokenizer_source: union\nmodules: {}")
    assert message.count(";") == 2
