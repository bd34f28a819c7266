"""``theta compose``: experts of several commits in one model, and only the router is new."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.theta.cli.conftest import Shell
from theta.repo import Author, Repo

HIDDEN, INNER, LAYERS = 6, 10, 2
KINDS = {"gate_proj": (INNER, HIDDEN), "down_proj": (HIDDEN, INNER), "up_proj": (INNER, HIDDEN)}
PLACES = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": HIDDEN,
    "num_attention_heads": 2,
    "mlp_bias": False,
    "dtype": "float32",
}
MOE = """
[trunk]
revision = "main"
file = "base/model.safetensors"
[[experts]]
name = "code"
revision = "code"
file = "base/model.safetensors"
[[experts]]
name = "math"
revision = "math"
file = "base/model.safetensors"
[router]
kind = "zeros"
"""
OUT = "moe/model.safetensors"

Arrays = Mapping[str, np.ndarray]


def _layer(number: int) -> str:
    return f"model.layers.{number}"


def _gate(number: int) -> str:
    return f"{_layer(number)}.block_sparse_moe.gate.weight"


def _llama(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {"model.embed_tokens.weight": (20, HIDDEN), "lm_head.weight": (20, HIDDEN)}
    for n in range(LAYERS):
        made[f"{_layer(n)}.self_attn.q_proj.weight"] = (HIDDEN, HIDDEN)
        made |= {f"{_layer(n)}.mlp.{kind}.weight": shape for kind, shape in KINDS.items()}
    return {name: rng.standard_normal(shape, np.float32) for name, shape in made.items()}


def _manifest(shell: Shell, text: str = MOE, name: str = "moe.toml") -> str:
    (shell.folder / name).write_text(text)
    return name


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama-like model in ``base`` on main; branches code and math, whose MLPs alone differ."""
    folder, ada = tmp_path_factory.mktemp("llama"), Author("Ada <ada@example.org>")
    with Repo.init(folder) as repo:
        _write(folder, _llama(0))
        (folder / "base" / "config.json").write_text(json.dumps(CONFIG))
        (folder / "base" / "tokenizer.json").write_text("{}")
        repo.add(["base"])
        repo.commit("base", author=ada)
        for seed, branch in enumerate(("code", "math"), 1):
            repo.switch(branch, create=True, start="main")
            _write(folder, {**_llama(0), **_mlps(seed)})
            repo.commit(branch, author=ada)
        repo.switch("main")
    return folder


@pytest.fixture
def llama(shell: Shell, template: Path) -> Shell:
    """A copy of the template, the current folder."""
    shutil.rmtree(shell.folder / ".theta")
    shutil.copytree(template, shell.folder, dirs_exist_ok=True)
    return shell


def _mlps(seed: int) -> dict[str, np.ndarray]:
    return {name: each for name, each in _llama(seed).items() if ".mlp." in name}


def _write(folder: Path, arrays: Arrays, name: str = "base/model.safetensors") -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    save_file(dict(arrays), folder / name)


def _state(shell: Shell) -> object:
    files = {p: p.read_bytes() for p in shell.folder.rglob("*") if p.is_file()}
    with shell.repo() as repo:
        files = {p: data for p, data in files.items() if ".theta" not in p.parts}
        return files, repo.head, repo.store.refs.all(), len(list(repo.operations()))


def test_a_mixture_has_the_trunk_and_the_experts(llama: Shell) -> None:
    answer = llama("compose", _manifest(llama), "-o", OUT)
    assert "Compose moe/model.safetensors" in answer.out
    assert "theta undo takes it back" in answer.err
    made = load_file(llama.folder / OUT)
    trunk, experts = _llama(0), [_llama(1), _llama(2)]
    wanted = {name: each for name, each in trunk.items() if ".mlp." not in name}
    for n in range(LAYERS):
        wanted[_gate(n)] = np.zeros((2, HIDDEN), np.float32)
        for e, expert in enumerate(experts):
            for kind, place in PLACES.items():
                name = f"{_layer(n)}.block_sparse_moe.experts.{e}.{place}.weight"
                wanted[name] = expert[f"{_layer(n)}.mlp.{kind}.weight"]
    assert made.keys() == wanted.keys()
    assert all(np.array_equal(made[name], wanted[name]) for name in wanted)
    assert llama("status", "--json").json["clean"]
    assert llama("fsck", "--json").json["ok"]


def test_the_manifest_is_kept_in_full(llama: Shell) -> None:
    tips = {name: llama("show", name, "--json").json["commit"] for name in ("main", "code", "math")}
    llama("compose", _manifest(llama), "-o", OUT)
    kept = json.loads((llama.folder / f"{OUT}.compose.json").read_text())
    assert kept["trunk"] == {"revision": tips["main"], "file": "base/model.safetensors"}
    assert [(e["name"], e["revision"]) for e in kept["experts"]] == [
        ("code", tips["code"]),
        ("math", tips["math"]),
    ]
    # What is kept is a manifest: it makes the same again.
    llama("compose", f"{OUT}.compose.json", "-o", OUT, code=1)
    llama("compose", f"{OUT}.compose.json", "-o", "again/model.safetensors")
    assert (llama.folder / "again/model.safetensors").read_bytes() == (
        llama.folder / OUT
    ).read_bytes()


@pytest.mark.parametrize("kind", ["zeros", "random"])
def test_only_the_router_and_records_are_stored(shell: Shell, kind: str) -> None:
    """Eight experts of 768 KiB: what is stored is the router and at most 16 KiB of records."""
    wide = {f"{_layer(0)}.mlp.{kind}.weight": (256, 256) for kind in KINDS}
    rng = np.random.default_rng(0)
    for name in ("main", *(f"e{n}" for n in range(8))):
        if name != "main":
            shell("switch", "-c", name, "main")
        _write(shell.folder, {n: rng.standard_normal(s, np.float32) for n, s in wide.items()})
        shell("add", "base")
        shell.commit(name)
    experts = "".join(f'[[experts]]\nname = "e{n}"\nrevision = "e{n}"\n' for n in range(8))
    text = f'[trunk]\nrevision = "main"\n{experts}[router]\nkind = "{kind}"\n'
    with shell.repo() as repo:
        before = repo.sizes()
    done = shell("compose", _manifest(shell, text), "-o", OUT, "--json").json
    router = 8 * 256 * 4
    assert done["router_bytes"] == router
    assert done["reused"] == 8 * 3
    assert done["stored_bytes"] < router + 4096
    with shell.repo() as repo:
        after = repo.sizes()
    assert after.stored_bytes - before.stored_bytes < router + (16 << 10)
    assert (shell.folder / OUT).stat().st_size > 8 * 3 * 256 * 256 * 4


def test_undo_and_redo(llama: Shell) -> None:
    name = _manifest(llama)
    before = _state(llama)
    llama("compose", name, "-o", OUT)
    after = _state(llama)
    llama("undo")
    assert _state(llama)[:3] == before[:3]
    llama("redo")
    assert _state(llama)[:3] == after[:3]


def test_a_dry_run_writes_nothing(llama: Shell) -> None:
    name = _manifest(llama)
    before = _state(llama)
    told = llama("compose", name, "-o", OUT, "--dry-run").out
    files = {OUT, f"{OUT}.compose.json", "moe/config.json", "moe/tokenizer.json"}
    assert {line.removeprefix("would write ") for line in told.splitlines()[:-1]} == files
    dry = llama("compose", name, "-o", OUT, "--dry-run", "--json").json
    assert dry["dry_run"]
    assert _state(llama) == before
    done = llama("compose", name, "-o", OUT, "--json").json
    same = ("files", "reused", "router_bytes", "manifest")
    assert [done[key] for key in same] == [dry[key] for key in same]


def test_the_config_and_the_tokenizer_come_along(llama: Shell) -> None:
    llama("compose", _manifest(llama), "-o", OUT)
    config = json.loads((llama.folder / "moe/config.json").read_text())
    assert config["architectures"] == ["MixtralForCausalLM"]
    assert (config["num_local_experts"], config["num_experts_per_tok"]) == (2, 2)
    assert (llama.folder / "moe/tokenizer.json").read_text() == "{}"
    assert json.loads((llama.folder / "base/config.json").read_text()) == CONFIG


def test_a_random_router_is_that_of_its_seed(llama: Shell) -> None:
    gates = []
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        text = MOE.replace('"zeros"', f'"random"\nseed = {seed}')
        llama("compose", _manifest(llama, text), "-o", f"{out}/model.safetensors")
        made = load_file(llama.folder / out / "model.safetensors")
        gates.append([made[_gate(n)] for n in range(LAYERS)])
    assert np.array_equal(gates[0], gates[1])
    assert not np.array_equal(gates[0], gates[2])
    assert not np.array_equal(*gates[0])
    assert 0 < np.abs(gates[0]).max() <= 1 / np.sqrt(HIDDEN)


def test_a_given_router_is_read_beside_the_manifest(llama: Shell) -> None:
    rng = np.random.default_rng(3)
    gates = {_gate(n): rng.standard_normal((2, HIDDEN), np.float32) for n in range(LAYERS)}
    text = MOE.replace('"zeros"', '"given"\nfile = "gates.safetensors"')
    folder = llama.folder / "plans"
    folder.mkdir()
    (folder / "moe.toml").write_text(text)
    told = llama("compose", "plans/moe.toml", "-o", OUT, code=2).err
    assert "gates.safetensors does not exist" in told
    for bad, spelled in (
        (np.zeros((3, HIDDEN), np.float32), f"{_gate(1)} is F32 3×6, not F32 2×6"),
        (np.zeros((2, HIDDEN), np.int32), f"{_gate(1)} is I32 2×6, not F32 2×6"),
        (None, f"gates.safetensors has no {_gate(1)}"),
    ):
        file = {_gate(0): gates[_gate(0)]} | ({} if bad is None else {_gate(1): bad})
        save_file(file, folder / "gates.safetensors")
        assert spelled in llama("compose", "plans/moe.toml", "-o", OUT, code=2).err
    save_file(gates, folder / "gates.safetensors")
    llama("compose", "plans/moe.toml", "-o", OUT)
    made = load_file(llama.folder / OUT)
    assert all(np.array_equal(made[name], gates[name]) for name in gates)


def test_a_prefix_is_cut_off(llama: Shell) -> None:
    wrapped = {f"module.{name}": each for name, each in _llama(7).items()}
    _write(llama.folder, wrapped, "wrapped.safetensors")
    llama("add", "wrapped.safetensors")
    llama.commit("wrapped")
    expert = 'revision = "main"\nfile = "wrapped.safetensors"\nprefix = "module"'
    text = MOE.replace('revision = "code"\nfile = "base/model.safetensors"', expert)
    llama("compose", _manifest(llama, text), "-o", OUT)
    made = load_file(llama.folder / OUT)[f"{_layer(1)}.block_sparse_moe.experts.0.w2.weight"]
    assert np.array_equal(made, _llama(7)[f"{_layer(1)}.mlp.down_proj.weight"])
    text = text.replace('prefix = "module"', 'prefix = "modul"')
    told = llama("compose", _manifest(llama, text), "-o", "b/m.safetensors", code=2).err
    assert "expert code: no parameter begins with modul" in told


@pytest.fixture
def composed(llama: Shell) -> Shell:
    llama("compose", _manifest(llama), "-o", OUT)
    llama("switch", "-c", "newer", "math")
    _write(llama.folder, {**_llama(0), **_mlps(5)})
    llama.commit("newer")
    llama("switch", "main")
    return llama


GRAFT = f"""
[trunk]
file = "{OUT}"
[[experts]]
name = "NAME"
revision = "newer"
file = "base/model.safetensors"
"""


@pytest.mark.parametrize("expert", ["math", "1"])
def test_a_graft_replaces_one_expert(composed: Shell, expert: str) -> None:
    before = load_file(composed.folder / OUT)
    name = _manifest(composed, GRAFT.replace("NAME", expert), "graft.toml")
    done = composed("compose", name, "-o", OUT, "--json").json
    assert done["router_bytes"] == 0
    assert done["stored_bytes"] < 4096
    after = load_file(composed.folder / OUT)
    changed = {n for n in before if not np.array_equal(before[n], after[n])}
    assert before.keys() == after.keys()
    assert changed == {n for n in before if ".experts.1." in n}
    wanted = _llama(5)[f"{_layer(0)}.mlp.up_proj.weight"]
    assert np.array_equal(after[f"{_layer(0)}.block_sparse_moe.experts.1.w3.weight"], wanted)
    kept = json.loads((composed.folder / f"{OUT}.compose.json").read_text())
    tip = composed("show", "newer", "--json").json["commit"]
    assert [e["name"] for e in kept["experts"]] == ["code", "math"]
    assert kept["experts"][1]["revision"] == tip
    assert kept["router"] == {"kind": "zeros"}
    # The manifest that was carried on makes the grafted model from its first parts.
    composed("compose", f"{OUT}.compose.json", "-o", "again/model.safetensors")
    again = (composed.folder / "again/model.safetensors").read_bytes()
    assert again == (composed.folder / OUT).read_bytes()


def test_a_graft_of_what_is_there_changes_nothing(composed: Shell) -> None:
    text = GRAFT.replace("NAME", "math").replace('"newer"', '"math"')
    name = _manifest(composed, text, "graft.toml")
    before = _state(composed)
    assert "composed so already" in composed("compose", name, "-o", OUT, code=1).err
    assert "composed so already" in composed("compose", name, "-o", OUT, "--dry-run", code=1).err
    assert _state(composed) == before


def test_a_graft_elsewhere_takes_the_config_along(composed: Shell) -> None:
    name = _manifest(composed, GRAFT.replace("NAME", "code"), "graft.toml")
    composed("compose", name, "-o", "other/model.safetensors")
    old, new = composed.folder / "moe/config.json", composed.folder / "other/config.json"
    assert new.read_bytes() == old.read_bytes()


def _changed(**arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the expert of seed 1 with other arrays; None takes one out."""
    named = {f"{_layer(1)}.mlp.{kind}": each for kind, each in arrays.items()}
    made = {**_llama(1), **{f"{name}.weight": each for name, each in named.items()}}
    return {name: each for name, each in made.items() if each is not None}


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        (
            _changed(up_proj=np.zeros((INNER, 5), np.float32)),
            "model.layers.1.mlp.up_proj.weight is F32 10×5 in expert code, not F32 10×6",
        ),
        (
            _changed(up_proj=np.zeros((INNER, HIDDEN), np.float16)),
            "is F16 10×6 in expert code, not F32 10×6",
        ),
        (_changed(gate_proj=None), "expert code has no model.layers.1.mlp.gate_proj.weight"),
        (
            _changed(gate_proj=None, up_proj=np.zeros((1, 1), np.float32)),
            "gate_proj.weight; model.layers.1.mlp.up_proj.weight is F32 1×1",
        ),
    ],
)
def test_an_expert_that_does_not_fit_is_one_error(llama: Shell, arrays: Arrays, told: str) -> None:
    llama("switch", "code")
    _write(llama.folder, arrays)
    llama.commit("bad")
    llama("switch", "main")
    name = _manifest(llama)
    before = _state(llama)
    for dry in ([], ["--dry-run"]):
        answer = llama("compose", name, "-o", OUT, *dry, code=2)
        assert told in answer.err
        assert "nothing was composed" in answer.err
        assert _state(llama) == before


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (('name = "math"', 'name = "code"'), 2, "the expert code twice"),
        (('kind = "zeros"', 'kind = "prompts"'), 2, "moe.toml is no manifest"),
        (('kind = "zeros"', 'kind = "zeros"\nseed = 1'), 2, "moe.toml is no manifest"),
        (("[router]\n", ""), 2, "moe.toml is no manifest"),
        (('[router]\nkind = "zeros"', ""), 2, "no router"),
        (("[trunk]", "experts_per_token = 3\n[trunk]"), 2, "experts_per_token is 3, of 2"),
        (("[trunk]", "version = 9\n[trunk]"), 2, "needs a newer theta"),
        (('revision = "code"', 'revision = "nope"'), 4, "nope"),
        (('revision = "code"', 'revision = "code'), 2, "moe.toml is no manifest"),
        (("base/model.safetensors", "base/config.json"), 2, "config.json is a plain file"),
        (("base/model.safetensors", "nope.safetensors"), 4, "holds no file"),
    ],
)
def test_a_manifest_that_says_nothing_sound(
    llama: Shell, change: tuple[str, str], code: int, told: str
) -> None:
    assert change[0] in MOE
    name = _manifest(llama, MOE.replace(*change))
    before = _state(llama)
    assert told in llama("compose", name, "-o", OUT, code=code).err
    assert _state(llama) == before


@pytest.mark.parametrize(
    ("out", "code", "told"),
    [
        ("moe.pt", 2, "written as .safetensors"),
        ("base/moe.safetensors", 2, "base/config.json is the config of base/model.safetensors"),
        ("base/config.json/m.safetensors", 2, "base/config.json is a file"),
        ("../m.safetensors", 9, "lies outside the workspace"),
        ("mine/m.safetensors", 9, "mine/m.safetensors would be overwritten"),
    ],
)
def test_places_that_are_refused(llama: Shell, out: str, code: int, told: str) -> None:
    _write(llama.folder, {"x": np.zeros(1, np.float32)}, "mine/m.safetensors")
    name = _manifest(llama)
    before = _state(llama)
    for dry in ([], ["--dry-run"]):
        assert told in llama("compose", name, "-o", out, *dry, code=code).err
        assert _state(llama) == before


def test_a_graft_needs_an_expert_that_is_there_and_no_router(composed: Shell) -> None:
    for name, told in (("2", "no expert 2: code, math"), ("codes", "no expert codes")):
        path = _manifest(composed, GRAFT.replace("NAME", name), "graft.toml")
        assert told in composed("compose", path, "-o", OUT, code=2).err
    twice = GRAFT.replace("NAME", "code") + GRAFT[GRAFT.index("[[") :].replace("NAME", "0")
    path = _manifest(composed, twice, "graft.toml")
    assert "replaces an expert twice" in composed("compose", path, "-o", OUT, code=2).err
    text = GRAFT.replace("NAME", "code") + '[router]\nkind = "zeros"\n'
    path = _manifest(composed, text.replace("[trunk]", "experts_per_token = 1\n[trunk]"), "g.toml")
    assert "has its router" in composed("compose", path, "-o", OUT, code=2).err


def test_what_an_interrupted_try_has_written_is_in_nobodys_way(llama: Shell) -> None:
    name = _manifest(llama)
    done = llama("compose", name, "-o", OUT, "--json").json
    left = {path: (llama.folder / path).read_bytes() for path in done["files"]}
    llama("undo")
    (llama.folder / "moe").mkdir(exist_ok=True)
    for path, data in left.items():
        assert not (llama.folder / path).exists()
        (llama.folder / path).write_bytes(data)
    llama("compose", name, "-o", OUT, "--dry-run")
    llama("compose", name, "-o", OUT)
    assert llama("status", "--json").json["clean"]
    llama("undo")
    (llama.folder / "moe").mkdir(exist_ok=True)
    (llama.folder / "moe/config.json").write_text("mine")
    for dry in ([], ["--dry-run"]):
        told = llama("compose", name, "-o", OUT, *dry, code=9).err
        assert "moe/config.json would be overwritten" in told
    assert (llama.folder / "moe/config.json").read_text() == "mine"


def test_what_of_an_expert_is_lost_is_said(llama: Shell) -> None:
    assert "warning" not in llama("compose", _manifest(llama), "-o", OUT, "--dry-run").err
    llama("switch", "code")
    _write(llama.folder, _llama(1))
    llama.commit("all of it")
    llama("switch", "main")
    for dry in (["--dry-run"], []):
        told = llama("compose", _manifest(llama), "-o", OUT, *dry).err
        assert "expert code: 4 of its other parameters are not the trunk's" in told
        assert "expert math" not in told


def test_a_trunk_of_torch_with_tied_weights(llama: Shell) -> None:
    import torch

    state = {name: torch.from_numpy(each) for name, each in _llama(0).items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    torch.save(state, llama.folder / "trunk.pt")
    llama("add", "trunk.pt")
    llama.commit("tied")
    text = MOE.replace('revision = "main"\nfile = "base/model.safetensors"', 'file = "trunk.pt"', 1)
    llama("compose", _manifest(llama, text), "-o", OUT)
    made = load_file(llama.folder / OUT)
    assert len({"lm_head.weight", "model.embed_tokens.weight"} & made.keys()) == 1
    with safe_open(llama.folder / OUT, "np") as file:
        assert set(file.metadata()) - {"format"} == {"lm_head.weight"}


def test_a_trunk_that_is_no_llama(llama: Shell) -> None:
    _write(
        llama.folder, {**_llama(0), f"{_layer(0)}.mlp.gate_proj.bias": np.zeros(INNER, np.float32)}
    )
    llama.commit("bias")
    told = llama("compose", _manifest(llama), "-o", OUT, code=2).err
    assert "has no place for model.layers.0.mlp.gate_proj.bias" in told
    _write(llama.folder, {"w": np.zeros(3, np.float32)})
    llama.commit("small")
    assert "has no layers.N.mlp" in llama("compose", _manifest(llama), "-o", OUT, code=2).err


SMEAR = MOE.replace("[trunk]", 'mode = "smear"\n[trunk]', 1)


def test_a_smear_manifest_is_all_there_is(llama: Shell) -> None:
    done = llama("compose", _manifest(llama, SMEAR), "-o", "experts", "--json").json
    assert done["files"] == ["experts.compose.json"]
    assert done["reused"] == done["router_bytes"] == 0
    kept = json.loads((llama.folder / "experts.compose.json").read_text())
    assert kept["mode"] == "smear"


def test_gc_leaves_the_experts_of_a_smear_alone(llama: Shell) -> None:
    tips = [llama("show", name, "--json").json["commit"] for name in ("code", "math")]
    llama("compose", _manifest(llama, SMEAR), "-o", "experts")
    for branch in ("code", "math"):
        llama("branch", "-D", branch)
    llama("forget", tips[0], code=9)
    llama("gc", "--now", "--keep-last", "1")
    for tip in tips:
        llama("cat", f"{tip}:base/config.json")
        llama("ls", f"{tip}:base/model.safetensors")
    assert llama("fsck", "--json").json["ok"]


def test_experts_of_a_smear_are_alike(llama: Shell) -> None:
    llama("switch", "math")
    _write(llama.folder, _changed(gate_proj=None))
    llama.commit("bad")
    llama("switch", "main")
    name = _manifest(llama, SMEAR)
    before = _state(llama)
    told = llama("compose", name, "-o", "experts", code=2).err
    assert "expert math has no model.layers.1.mlp.gate_proj.weight" in told
    text = SMEAR.replace('"zeros"', '"given"\nfile = "x"')
    told = llama("compose", _manifest(llama, text), "-o", "experts", code=2).err
    assert "zeros or random" in told
    _manifest(llama, SMEAR)
    assert _state(llama) == before


def test_a_manifest_in_json(llama: Shell) -> None:
    import tomllib

    name = _manifest(llama, json.dumps(tomllib.loads(MOE)), "moe.json")
    llama("compose", name, "-o", OUT)
    assert Path(OUT).is_file()
