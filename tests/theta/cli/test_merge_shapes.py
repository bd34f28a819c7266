"""Vocabularies that grew on both sides, and other terms that differ in shape."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch

WIDTH = 6
UNION = "*embed* union-rows"


def _rows(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


BASE = _rows(0, 8)


def _grown(rows: dict[int, int], more: int, seed: int) -> np.ndarray:
    """Return the base with some rows changed (row → seed), and more rows behind."""
    made = BASE.copy()
    for row, salt in rows.items():
        made[row] = _rows(100 + salt, 1)
    return np.concatenate([made, _rows(seed, more)])


OURS = _grown({1: 1, 2: 2, 3: 3}, 3, 10)
THEIRS = _grown({2: 4, 3: 3, 5: 5}, 2, 20)


def _fork(shell: Shell, base: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> Shell:
    shell.save(embed=base)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", embed=theirs)
    shell.commit("ours", embed=ours)
    return shell


def _merged(shell: Shell) -> np.ndarray:
    return load_file(shell.folder / "m.safetensors")["embed"]


def _mean(*terms: np.ndarray) -> np.ndarray:
    share = np.float32(1 / len(terms))
    return sum((term * share for term in terms[1:]), terms[0] * share)


def test_rows_without_a_tokenizer_are_those_of_ours_then_those_of_theirs(shell: Shell) -> None:
    _fork(shell, BASE, OURS, THEIRS)
    (conflict,) = shell("merge", "rte", "-s", "average", "--json", code=1).json["conflicts"]
    assert conflict["kind"] == "shape"
    answer = shell("merge", "rte", "--rule", UNION, "--json").json
    assert any("no tokenizer" in notice for notice in answer["notices"])
    made = _merged(shell)
    assert np.array_equal(made[[0, 1, 4, 6, 7]], OURS[[0, 1, 4, 6, 7]])
    assert np.array_equal(made[[3, 5]], THEIRS[[3, 5]])
    assert np.allclose(made[2], (OURS[2] + THEIRS[2]) / 2, atol=1e-7)
    assert np.array_equal(made[8:11], OURS[8:])
    assert np.array_equal(made[11:], THEIRS[8:])
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]
    shell("fsck")


def test_a_row_that_both_changed_is_averaged_by_the_formula(shell: Shell) -> None:
    _fork(shell, BASE, OURS, THEIRS)
    shell("merge", "rte", "--rule", UNION)
    half = np.float32(0.5)
    assert np.array_equal(_merged(shell)[2], OURS[2] * half + THEIRS[2] * half)


def test_rows_of_another_width_stay_a_conflict(shell: Shell) -> None:
    _fork(shell, BASE, OURS, THEIRS[:, :-1])
    said = shell("merge", "rte", "--rule", UNION, code=1).out
    assert "more than the number of their rows" in said


def test_whole_numbers_stay_a_conflict(shell: Shell) -> None:
    base = np.arange(6).reshape(3, 2)
    _fork(shell, base, np.ones((4, 2), np.int64), base + 1)
    assert "real numbers" in shell("merge", "rte", "--rule", UNION, code=1).out


def test_padding_takes_what_is_missing_from_the_base_or_the_other_side(shell: Shell) -> None:
    ours, theirs = BASE[:6] + 1, np.concatenate([BASE + 2, _rows(7, 2)])
    _fork(shell, BASE, ours, theirs)
    shell("merge", "rte", "-s", "average shape=pad")
    expected = np.concatenate([_mean(ours, theirs[:6]), _mean(BASE[6:], theirs[6:8]), theirs[8:]])
    assert np.allclose(_merged(shell), expected, atol=1e-6)
    assert np.array_equal(_merged(shell)[8:], theirs[8:])
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]


def test_padding_before_a_strategy_of_deltas(shell: Shell) -> None:
    ours, theirs = BASE[:6] + 1, np.concatenate([BASE + 2, _rows(7, 2)])
    _fork(shell, BASE, ours, theirs)
    shell("merge", "rte", "-s", "task-arithmetic shape=pad")
    expected = np.concatenate([BASE[:6] + 3, BASE[6:] + 2, theirs[8:]])
    assert np.allclose(_merged(shell), expected, atol=1e-6)


def test_truncating_keeps_the_common_block(shell: Shell) -> None:
    ours, theirs = BASE[:6, :4] + 1, _rows(7, 10) + 2
    _fork(shell, BASE, ours, theirs)
    shell("merge", "rte", "-s", "average shape=truncate")
    assert np.allclose(_merged(shell), _mean(ours, theirs[:6, :4]), atol=1e-6)
    assert _merged(shell).shape == (6, 4)


@pytest.mark.parametrize(("rule", "why"), [("ties shape=pad", "axes"), ("ties", "does not settle")])
def test_terms_that_nothing_makes_alike(shell: Shell, rule: str, why: str) -> None:
    _fork(shell, BASE, BASE.reshape(4, -1) + 1, BASE.reshape(2, 2, -1) + 1)
    assert why in shell("merge", "rte", "-s", rule, code=1).out


def test_an_unknown_way_to_reshape(shell: Shell) -> None:
    said = shell("merge", "rte", "-s", "ties shape=crop", code=2).err
    assert "shape=crop" in said
    assert "not allowed" in said


def test_rows_of_three_sides(shell: Shell) -> None:
    third = _grown({2: 6}, 1, 30)
    _fork(shell, BASE, OURS, THEIRS)
    branch(shell, "sst", "main~1", embed=third)
    shell("merge", "rte", "sst", "--rule", UNION)
    made = _merged(shell)
    assert np.array_equal(made[8:], np.concatenate([OURS[8:], THEIRS[8:], third[8:]]))
    assert np.allclose(made[2], (OURS[2] + THEIRS[2] + third[2]) / 3, atol=1e-6)
    assert np.array_equal(made[3], OURS[3])
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]


@pytest.mark.parametrize("rule", ["union-rows", "average shape=pad", "average shape=truncate"])
def test_without_a_base_there_is_nothing_to_align_with(shell: Shell, rule: str) -> None:
    shell.save(other=BASE)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", other=BASE, embed=THEIRS)
    shell.commit("ours", other=BASE, embed=OURS)
    assert "needs a base" in shell("merge", "rte", "-s", rule, code=1).out


def test_a_dtype_that_differs_too_is_asked_about_first(shell: Shell) -> None:
    _fork(shell, BASE, OURS.astype(np.float16), THEIRS)
    assert "--dtype" in shell("merge", "rte", "--rule", UNION, code=1).out
    shell("merge", "rte", "--rule", UNION, "--dtype", "widest")
    assert _merged(shell).dtype == np.float32
    assert len(_merged(shell)) == 13


def test_rows_whose_number_did_not_change(shell: Shell) -> None:
    """Both changed different rows and one in common: the rule is taken at its word."""
    ours, theirs = OURS[:8], THEIRS[:8]
    _fork(shell, BASE, ours, theirs)
    answer = shell("merge", "rte", "--rule", UNION, "--json").json
    assert [each["how"] for each in answer["resolved"]] == ["union-rows"]
    made = _merged(shell)
    assert np.array_equal(made[[1, 5]], np.stack([ours[1], theirs[5]]))
    assert np.allclose(made[2], (ours[2] + theirs[2]) / 2, atol=1e-7)


def test_a_side_that_holds_what_is_no_number(shell: Shell) -> None:
    bad = THEIRS.copy()
    bad[9, 0] = np.nan
    _fork(shell, BASE, OURS, bad)
    (conflict,) = shell("merge", "rte", "--rule", UNION, "--json", code=1).json["conflicts"]
    assert conflict["kind"] == "non-finite"
    shell("merge", "rte", "--rule", UNION, "--allow-nonfinite")
    assert np.isnan(_merged(shell)).sum() == 1


def test_a_dry_run_says_what_is_missing(shell: Shell) -> None:
    _fork(shell, BASE, OURS, THEIRS)
    assert "union-rows" in shell("merge", "rte", "--rule", UNION, "--dry-run").out
    assert "shape=pad" in shell("merge", "rte", "-s", "average", code=1).out


# Tokenizers --------------------------------------------------------------------------------


def _tokenizer(*tokens: str, added: tuple[str, ...] = ()) -> str:
    """Return a ``tokenizer.json`` of these tokens, and of those that were added behind them."""
    special = [
        {"id": len(tokens) + place, "content": token, "special": True}
        for place, token in enumerate(added)
    ]
    merges = [[token[0], token[1:]] for token in tokens if len(token) > 1]
    model = {"type": "BPE", "vocab": {t: n for n, t in enumerate(tokens)}, "merges": merges}
    document = {"version": "1.0", "truncation": None, "added_tokens": special, "model": model}
    return json.dumps(document, indent=2, ensure_ascii=False)


LETTERS = tuple("abcdefgh")


def _folder(shell: Shell, text: str, name: str = "tokenizer.json", **values: np.ndarray) -> None:
    shell.save("hf/model.safetensors", **values)
    (shell.folder / "hf" / name).write_text(text, encoding="utf-8")


def _fork_folder(shell: Shell, texts: list[str], rows: list[np.ndarray], name: str) -> None:
    """Commit base, theirs (on ``rte``) and ours: a tokenizer and an embedding each."""
    base, ours, theirs = ((text, array) for text, array in zip(texts, rows, strict=True))
    _folder(shell, base[0], name, embed=base[1])
    shell("add", "hf")
    shell.commit("first")
    shell("switch", "-c", "rte")
    _folder(shell, theirs[0], name, embed=theirs[1])
    shell("commit", "-am", "theirs")
    shell("switch", "main")
    _folder(shell, ours[0], name, embed=ours[1])
    shell("commit", "-am", "ours")


def _ids(path: Path) -> dict[str, int]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "model" not in found:
        return found
    return found["model"]["vocab"] | {e["content"]: e["id"] for e in found["added_tokens"]}


TOKENS = [LETTERS, (*LETTERS, "ab", "cd", "ef"), (*LETTERS, "cd", "gh")]


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json"])
def test_rows_follow_tokens_where_there_is_a_tokenizer(shell: Shell, name: str) -> None:
    if name == "vocab.json":
        texts = [json.dumps({t: n for n, t in enumerate(tokens)}) for tokens in TOKENS]
    else:
        texts = [_tokenizer(*tokens) for tokens in TOKENS]
    _fork_folder(shell, texts, [BASE, OURS, THEIRS], name)
    answer = shell("merge", "rte", "--rule", UNION, "--json").json
    assert not answer["notices"]
    made = load_file(shell.folder / "hf/model.safetensors")["embed"]
    ids = _ids(shell.folder / "hf" / name)
    assert ids == {t: n for n, t in enumerate([*LETTERS, "ab", "cd", "ef", "gh"])}
    assert len(made) == len(ids)
    assert np.array_equal(made[ids["ab"]], OURS[8])
    assert np.array_equal(made[ids["ef"]], OURS[10])
    assert np.array_equal(made[ids["gh"]], THEIRS[9])
    assert np.allclose(made[ids["cd"]], (OURS[9] + THEIRS[8]) / 2, atol=1e-7)
    assert np.array_equal(made[5], THEIRS[5])
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]


@pytest.mark.parametrize("sizes", [(8, 11, 10), (8, 11, 11), (8, 8, 8), (8, 8, 10)])
def test_the_configuration_says_how_many_tokens_there_are(
    shell: Shell, sizes: tuple[int, int, int]
) -> None:
    """Whether the sides agree about it or not, and where one or both forgot to say."""

    def say(size: int) -> None:
        config = {"text": {"vocab_size": size, "layers": 8}, "vocab_size": 512}
        path = shell.folder / "config.json"
        path.write_text(json.dumps(config, indent=2))

    base, ours, theirs = sizes
    say(base)
    shell("add", "config.json")
    shell.save(embed=BASE)
    shell("add", "m.safetensors")
    shell.commit("first")
    shell("switch", "-c", "rte")
    say(theirs)
    shell.save(embed=THEIRS)
    shell("commit", "-am", "theirs")
    shell("switch", "main")
    say(ours)
    shell.save(embed=OURS)
    shell("commit", "-am", "ours")
    shell("merge", "rte", "--rule", UNION)
    expected = {"text": {"vocab_size": 13, "layers": 8}, "vocab_size": 512}
    assert json.loads((shell.folder / "config.json").read_text()) == expected
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]
    assert shell("status", "--json").json["clean"]


def test_tokenizers_of_the_library_agree_with_the_rows(shell: Shell) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    base = _trained(tokenizers, "low lower lowest new newer newest", 24)
    texts = []
    for more in ((), ("<ours>", "<both>"), ("<both>", "<theirs>")):
        made = tokenizers.Tokenizer.from_str(base)
        made.add_special_tokens(list(more))
        texts.append(made.to_str(pretty=True))
    counts = [tokenizers.Tokenizer.from_str(text).get_vocab_size() for text in texts]
    common = _rows(0, counts[0])
    rows = [np.concatenate([common, _rows(n, c - counts[0])]) for n, c in enumerate(counts)]
    _fork_folder(shell, texts, rows, "tokenizer.json")
    shell("merge", "rte", "--rule", UNION)
    merged = tokenizers.Tokenizer.from_file(str(shell.folder / "hf/tokenizer.json"))
    made = load_file(shell.folder / "hf/model.safetensors")["embed"]
    assert merged.get_vocab_size() == len(made) == counts[0] + 3
    old = tokenizers.Tokenizer.from_str(base)
    assert merged.encode("newest low").ids == old.encode("newest low").ids
    (theirs,) = merged.encode("<theirs>").ids
    assert np.array_equal(made[theirs], rows[2][-1])


def _trained(tokenizers: Any, text: str, size: int) -> str:
    """Return a small tokenizer, trained on a text."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<unk>"], show_progress=False
    )
    made.train_from_iterator([text], trainer)
    return str(made.to_str())


def test_added_tokens_get_new_ids_and_merges_are_kept(shell: Shell) -> None:
    texts = [
        _tokenizer(*LETTERS, added=("<s>",)),
        _tokenizer(*LETTERS, added=("<s>", "<u>")),
        _tokenizer(*LETTERS, added=("<s>", "<t>", "<u>")),
    ]
    base = np.concatenate([BASE, _rows(1, 1)])
    rows = [base, np.concatenate([base, _rows(2, 1)]), np.concatenate([base, _rows(3, 2)])]
    _fork_folder(shell, texts, rows, "tokenizer.json")
    shell("merge", "rte", "--rule", UNION)
    made = load_file(shell.folder / "hf/model.safetensors")["embed"]
    ids = _ids(shell.folder / "hf/tokenizer.json")
    assert [ids[token] for token in ("<s>", "<u>", "<t>")] == [8, 9, 10]
    assert np.array_equal(made[10], rows[2][9])
    assert np.allclose(made[9], (rows[1][9] + rows[2][10]) / 2, atol=1e-7)


def test_a_vocabulary_that_one_side_changed_is_followed(shell: Shell) -> None:
    """Theirs has other ids for all tokens, and one fewer; ours only trained."""
    order = [7, 3, 0, 1, 2, 4, 5]
    texts = [_tokenizer(*LETTERS), _tokenizer(*LETTERS), _tokenizer(*(LETTERS[n] for n in order))]
    ours = BASE.copy()
    ours[3] = 0.5
    _fork_folder(shell, texts, [BASE, ours, BASE[order]], "tokenizer.json")
    shell("merge", "rte", "--rule", UNION)
    made = load_file(shell.folder / "hf/model.safetensors")["embed"]
    assert np.array_equal(made, ours[order])
    assert _ids(shell.folder / "hf/tokenizer.json") == {LETTERS[n]: k for k, n in enumerate(order)}


def test_rows_of_places_do_not_follow_tokens(shell: Shell) -> None:
    texts = [_tokenizer(*tokens) for tokens in TOKENS]
    for branch_, text, rows in zip(
        ("main", "main", "rte"), texts, (BASE, OURS, THEIRS), strict=True
    ):
        if branch_ == "rte":
            shell("switch", "-c", "rte", "main~1")
        _folder(shell, text, embed=rows, wpe=rows)
        shell("add", "hf")
        shell.commit(branch_)
    shell("switch", "main")
    rules = ("--rule", UNION, "--rule", "wpe union-rows")
    notices = shell("merge", "rte", *rules, "--json").json["notices"]
    made = load_file(shell.folder / "hf/model.safetensors")
    assert len(made["embed"]) == 12
    assert np.array_equal(made["wpe"][8:], np.concatenate([OURS[8:], THEIRS[8:]]))
    assert any("no tokenizer" in notice for notice in notices)


def test_a_tokenizer_that_does_not_fit_the_rows_stays_a_conflict(shell: Shell) -> None:
    texts = [_tokenizer(*"rstuvwxyz", *tokens) for tokens in TOKENS]
    _fork_folder(shell, texts, [BASE, OURS, THEIRS], "tokenizer.json")
    (conflict,) = shell("merge", "rte", "--rule", UNION, "--json", code=1).json["conflicts"]
    assert conflict["name"] == "vocabulary"
    shell("merge", "rte", "--rule", UNION, "--rule", "hf/tokenizer.json::vocabulary union-rows")


def test_a_vocabulary_is_not_merged_where_rows_are_not(shell: Shell) -> None:
    texts = [_tokenizer(*tokens) for tokens in TOKENS]
    _fork_folder(shell, texts, [BASE, OURS, THEIRS], "tokenizer.json")
    answer = shell("merge", "rte", "--rule", "*embed* ours", "--json", code=1).json
    (conflict,) = answer["conflicts"]
    assert (conflict["path"], conflict["name"]) == ("hf/tokenizer.json", "vocabulary")
    shell("merge", "rte", "--rule", "*embed* ours", "--rule", "hf/tokenizer.json::* ours")
    assert _ids(shell.folder / "hf/tokenizer.json") == {t: n for n, t in enumerate(TOKENS[1])}


def test_a_vocabulary_that_does_not_go_with_the_rows_is_refused(shell: Shell) -> None:
    texts = [_tokenizer(*tokens) for tokens in TOKENS]
    _fork_folder(shell, texts, [BASE, OURS, THEIRS], "tokenizer.json")
    rules = ("--rule", UNION, "--rule", "hf/tokenizer.json::* theirs")
    assert "union-rows" in shell("merge", "rte", *rules, code=1).out
