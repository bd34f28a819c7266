"""Merge configurations of mergekit, said in theta's grammar.

Owns reading the common subset of its YAML: one method over whole models, parameters per model or
for all, filters, gradients. What cannot be said is named by one `UsageError`. Must not know
revisions, nor parameters of any model.

mergekit takes the first filter that is part of a tensor's name; of rules the last that matches
wins. So a rule is made for each set of filters that can match together, the larger sets behind.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from theta.merge.choice import parse_choice
from theta_store.errors import UsageError

Yaml = object
# Models with their own parameters.
Models = list[tuple[str, Mapping[str, Yaml]]]
# What a value is taken from: the first filter that matches; None matches every name.
Cases = tuple[tuple[str | None, str], ...]
Scope = Literal["side", "same", "all"]
MODELS = frozenset({"models", "slices", "base_model", "tokenizer_source"})
KEYS = MODELS | {"merge_method", "parameters", "dtype", "out_dtype"}
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}
# More than so many ways in which filters can lie in one name make no rule that anybody reads.
MOST_GLOBS = 24
MOST_FILTERS = 10


@dataclass(frozen=True)
class Parameter:
    """A parameter of a method: what theta calls it, and for whom it has a value.

    ``side``: each model; ``same``: each model in mergekit, all alike in theta; ``all``: the merge.
    ``words`` translate flags. ``name`` empty: it has no influence on the result but where it is
    something else than ``only``.
    """

    name: str
    scope: Scope = "all"
    required: bool = False
    words: tuple[str, str] = ("false", "true")
    only: str = ""


@dataclass(frozen=True)
class Family:
    """A method: its strategy, what its base is, its parameters, and those that theta adds."""

    strategy: str
    base: Literal["ignored", "optional", "required", "start"]
    parameters: Mapping[str, Parameter]
    fixed: tuple[tuple[str, str], ...] = ()


_WEIGHT = {"weight": Parameter("weight", "side", required=True)}
_SUM = {"normalize": Parameter("normalize")}
_MASK = {"int8_mask": Parameter("")}
_DELTAS = _WEIGHT | _SUM | _MASK | {"lambda": Parameter("lambda")}
_PLAIN = _DELTAS | {"density": Parameter("density", "same"), "rescale": Parameter("", only="false")}
_DARE = _PLAIN | {"rescale": Parameter("rescale", words=("none", "l1"))}
_DELLA = _DARE | {"epsilon": Parameter("epsilon", "same")}
_CRUMBS = _PLAIN | {"gamma": Parameter("gamma", "same")}
_T = {"t": Parameter("t", required=True)}
_RAM = {"epsilon": Parameter("epsilon")}
FAMILIES: Mapping[str, Family] = {
    "linear": Family("linear", "ignored", _WEIGHT | _SUM),
    "slerp": Family("slerp", "start", _T),
    "nuslerp": Family(
        "nuslerp",
        "optional",
        _WEIGHT
        | {"nuslerp_flatten": Parameter("vectors", words=("rows", "tensor"))}
        | {"nuslerp_row_wise": Parameter("", only="false")},
    ),
    "multislerp": Family(
        "multislerp",
        "optional",
        _WEIGHT | {"normalize_weights": Parameter("normalize"), "eps": Parameter("", only="1e-08")},
    ),
    "karcher": Family(
        "karcher", "ignored", {"max_iter": Parameter("max_iter"), "tol": Parameter("tol")}
    ),
    "task_arithmetic": Family(
        "task-arithmetic", "required", _DELTAS | {"rescale": Parameter("", only="false")}
    ),
    "ties": Family("ties", "required", _PLAIN),
    "dare_linear": Family("dare", "required", _DARE),
    "dare_ties": Family("dare-ties", "required", _DARE),
    "della": Family("della", "required", _DELLA),
    "della_linear": Family("della-linear", "required", _DELLA),
    "breadcrumbs": Family("breadcrumbs", "required", _CRUMBS),
    "breadcrumbs_ties": Family("breadcrumbs-ties", "required", _CRUMBS),
    "sce": Family("sce", "required", _MASK | {"select_topk": Parameter("select_topk")}),
    "model_stock": Family("model-stock", "required", {"filter_wise": Parameter("filter_wise")}),
    "arcee_fusion": Family("arcee-fusion", "start", {}),
    "nearswap": Family("nearswap", "start", _T),
    "ram": Family("ram", "required", _RAM),
    "ramplus_tl": Family(
        "ram",
        "required",
        _RAM | {"r": Parameter("r"), "alpha": Parameter("alpha")},
        (("r", "0.1"), ("alpha", "0.2")),
    ),
}


@dataclass(frozen=True)
class MergekitMerge:
    """A configuration that theta can carry out.

    ``models`` are the sides, in the order of the file. ``base`` is the model that they must come
    from; None where that does not matter. ``dtype`` is that of the result, ``layers`` the number of
    layers that the models must have, None where the file does not say.
    """

    origin: str
    family: Family
    models: tuple[str, ...]
    base: str | None
    cases: tuple[tuple[str, str | None, Cases], ...]
    dtype: str | None = None
    layers: int | None = None

    def rules(self, labels: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
        """Return the default strategy, and the rules over it; ``labels`` are those of sides."""
        default = self._choice(frozenset(), labels)
        emitted: list[tuple[frozenset[str], str]] = [(frozenset(), default)]
        rules = []
        for chosen in self._meetings():
            choice = self._choice(chosen, labels)
            # The rule that would hold without this one; where one might, it must be the same.
            if next(old for part, old in reversed(emitted) if part <= chosen) == choice and (
                len(chosen) > 1 or len({old for _, old in emitted}) == 1
            ):
                continue
            emitted.append((chosen, choice))
            rules.append(f"{self._glob(chosen)} {choice}")
        return default, tuple(rules)

    def _meetings(self) -> Iterator[frozenset[str]]:
        """Yield the sets of filters that need a rule, the strongest last.

        Where all parameters have the same filters in the same order, the first that matches says
        all, whatever else does.
        """
        filters = _filters(self.cases)
        orders = {tuple(part for part, _ in cases if part is not None) for *_, cases in self.cases}
        if len(orders - {()}) <= 1:
            yield from (frozenset({part}) for part in reversed(filters))
            return
        if len(filters) > MOST_FILTERS:
            raise UsageError(
                f"{self.origin}: {len(filters)} filters, not the same for all parameters; "
                f"{MOST_FILTERS} are possible"
            )
        yield from _subsets(filters)

    def _glob(self, chosen: frozenset[str]) -> str:
        globs = [f"*{glob}*" for glob in sorted(_together(chosen))]
        if len(globs) > MOST_GLOBS:
            names = ", ".join(sorted(chosen))
            raise UsageError(f"{self.origin}: too many filters meet in one rule: {names}")
        return globs[0] if len(globs) == 1 else "{" + ",".join(globs) + "}"

    def _choice(self, chosen: frozenset[str], labels: Mapping[str, str]) -> str:
        """Return the strategy and its parameters where exactly these filters match.

        Values that the strategy does not take are a `UsageError` that names the file.
        """
        words = dict(self.family.fixed)
        sides: dict[str, list[tuple[str, str]]] = {}
        for name, model, cases in self.cases:
            text = next((text for part, text in cases if part is None or part in chosen), None)
            if text is None:
                continue
            if model is None:
                words[name] = text
            else:
                sides.setdefault(name, []).append((model, text))
        for name, values in sides.items():
            words[name] = self._of_sides(name, values, labels)
        pairs = (f"{name}={text}" for name, text in words.items())
        return str(parse_choice(" ".join([self.family.strategy, *pairs]), self.origin))

    def _of_sides(
        self, name: str, values: Sequence[tuple[str, str]], labels: Mapping[str, str]
    ) -> str:
        if len(values) < len(self.models):
            given = {model for model, _ in values}
            lacking = next(model for model in self.models if model not in given)
            if _scope(self.family, name) == "side":
                raise UsageError(f"{self.origin}: {name} of {lacking} is missing for some tensors")
            raise UsageError(f"{self.origin}: {name} is given for some models only")
        if _scope(self.family, name) == "side":
            return ",".join(f"{labels[model]}:{text}" for model, text in values)
        if len({text for _, text in values}) > 1:
            raise UsageError(f"{self.origin}: {name} differs between models; theta has one for all")
        return values[0][1]


def _scope(family: Family, name: str) -> Scope:
    """Return for whom a parameter has values; one that theta adds has one for each side."""
    return next((p.scope for p in family.parameters.values() if p.name == name), "side")


def read_mergekit(text: str, origin: str) -> MergekitMerge:
    """Read a configuration; what theta cannot carry out is one `UsageError` that names it all."""
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = getattr(error, "problem_mark", None)
        where = "" if line is None else f" line {line.line + 1}"
        raise UsageError(f"{origin}{where}: this is no YAML") from None
    if not isinstance(document, dict) or "merge_method" not in document:
        raise UsageError(f"{origin}: this is no merge configuration: it has no merge_method")
    return _Reader(origin, document).read()


class _Reader:
    """A document, and what of it cannot be said in theta's grammar."""

    def __init__(self, origin: str, document: Mapping[Yaml, Yaml]) -> None:
        self._origin = origin
        self._document = document
        self._wrong: list[str] = []

    def read(self) -> MergekitMerge:
        """Return what theta can carry out, or name all that it cannot."""
        document = self._document
        self._wrong += [f"{key}" for key in document if key not in KEYS]
        if document.get("tokenizer_source") not in (None, "base"):
            self._wrong.append(f"tokenizer_source {document['tokenizer_source']}")
        method = str(document["merge_method"])
        family = FAMILIES.get(method)
        if family is None:
            self._wrong.append(f"merge_method {method}")
        sources, inner, layers = self._sources()
        self._refuse()
        assert family is not None, "an unknown method was refused"
        base, models = self._base(family, [name for name, _ in sources])
        own = {name: parameters for name, parameters in sources if name in models}
        shared = [inner, self._mapping(document.get("parameters"), "parameters")]
        cases = self._cases(method, family, own, shared)
        if family.base == "optional" and base is None:
            cases = (*cases, ("deltas", None, ((None, "false"),)))
        if family.base == "start":
            ends = [("ends", model, ((None, str(n)),)) for n, model in enumerate(models)]
            cases = (*cases, *ends)
        dtype = self._dtype(document.get("out_dtype") or document.get("dtype"))
        self._refuse()
        meant = base if family.base in {"required", "optional"} else None
        return MergekitMerge(self._origin, family, models, meant, cases, dtype, layers)

    def _refuse(self) -> None:
        if self._wrong:
            named = "; ".join(dict.fromkeys(self._wrong))
            raise UsageError(f"{self._origin}: theta cannot do this: {named}")

    def _sources(self) -> tuple[Models, Mapping[str, Yaml], int | None]:
        """Return the models with their parameters, those of all, and the number of layers."""
        document = self._document
        if "slices" not in document:
            return self._models(document.get("models"), "models"), {}, None
        match document["slices"]:
            case [dict(only)] if not (
                "models" in document or set(only) - {"sources", "parameters"}
            ):
                found = self._models(only.get("sources"), "sources", more={"layer_range"})
                return (
                    found,
                    self._mapping(only.get("parameters"), "parameters"),
                    self._layers(only),
                )
        self._wrong.append("slices")
        return [], {}, None

    def _layers(self, only: Mapping[Yaml, Yaml]) -> int | None:
        """Return how many layers the only slice has, from the first one."""
        entries = only.get("sources")
        found = (
            [e.get("layer_range") for e in entries if isinstance(e, dict)]
            if isinstance(entries, list)
            else []
        )
        match found[:1]:
            case [[0, int(layers)]] if all(each == [0, layers] for each in found):
                return layers
        self._wrong.append("slices that take layers apart")
        return None

    def _models(self, entries: Yaml, what: str, more: Iterable[str] = ()) -> Models:
        found: Models = []
        for entry in entries if isinstance(entries, list) else []:
            if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
                self._wrong.append(f"an entry of {what} without a model by name")
                continue
            name = entry["model"]
            self._wrong += [
                f"{key} of {name}" for key in set(entry) - {"model", "parameters", *more}
            ]
            if "+" in name:
                self._wrong.append(f"{name}: an adapter on a model")
            found.append((name, self._mapping(entry.get("parameters"), f"parameters of {name}")))
        names = [name for name, _ in found]
        if len(set(names)) < len(names):
            self._wrong.append("a model that is named twice")
        if not found:
            self._wrong.append(f"no {what}")
        return found

    def _mapping(self, value: Yaml, what: str) -> Mapping[str, Yaml]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._wrong.append(f"{what}: no names and values")
            return {}
        return {str(key): each for key, each in value.items()}

    def _base(self, family: Family, names: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
        """Return the base and the sides."""
        base = self._document.get("base_model")
        if base is not None and not isinstance(base, str):
            self._wrong.append("base_model: no model by name")
        if base is None and family.base in {"required", "start"}:
            self._wrong.append(f"{self._document['merge_method']} without a base_model")
        if not isinstance(base, str):
            return None, tuple(names)
        others = tuple(name for name in names if name != base)
        if family.base == "start":
            if len(others) != 1:
                self._wrong.append(f"{len(others)} models beside the base_model")
            return base, (base, *others)
        if family.base == "ignored":
            # It is a side like the others where it is listed; else only its other files count.
            return base, tuple(names)
        return base, others

    def _dtype(self, value: Yaml) -> str | None:
        if value is not None and str(value) not in DTYPES:
            self._wrong.append(f"dtype {value}")
        return DTYPES.get(str(value))

    def _cases(
        self,
        method: str,
        family: Family,
        models: Mapping[str, Mapping[str, Yaml]],
        shared: Sequence[Mapping[str, Yaml]],
    ) -> tuple[tuple[str, str | None, Cases], ...]:
        sides = {name: models.get(name, {}) for name in models}
        given = {key: None for part in (*sides.values(), *shared) for key in part}
        self._wrong += [f"{key} of {method}" for key in given if key not in family.parameters]
        found: list[tuple[str, str | None, Cases]] = []
        for key, parameter in family.parameters.items():
            holders: dict[str | None, list[Mapping[str, Yaml]]]
            if parameter.scope == "all":
                holders = {None: [*shared]}
                if any(key in part for part in sides.values()):
                    self._wrong.append(f"{key} of single models")
            else:
                holders = {model: [own, *shared] for model, own in sides.items()}
            for model, parts in holders.items():
                cases = self._resolved(key, parameter, [part[key] for part in parts if key in part])
                if parameter.required and not any(part is None for part, _ in cases):
                    who = "" if model is None else f" of {model}"
                    self._wrong.append(f"{key}{who} has no value where no filter matches")
                if cases and parameter.name:
                    found.append((parameter.name, model, cases))
        return tuple(found)

    def _resolved(self, key: str, parameter: Parameter, settings: Sequence[Yaml]) -> Cases:
        """Return the cases of settings, the first of which that says something counts."""
        cases = []
        for part, value in itertools.chain.from_iterable(map(self._conditions, settings)):
            text = self._text(key, parameter, value)
            if not parameter.name and parameter.only and text != parameter.only:
                self._wrong.append(f"{key} {value}")
            cases.append((part, text))
            if part is None:
                break
        return tuple(cases)

    def _conditions(self, setting: Yaml) -> Iterator[tuple[str | None, Yaml]]:
        entries = setting if isinstance(setting, list) else [setting]
        if not any(isinstance(entry, dict) for entry in entries):
            yield None, setting
            return
        for entry in entries:
            if not isinstance(entry, dict) or set(entry) - {"filter", "value"}:
                self._wrong.append(f"the setting {entry}")
                continue
            part = entry.get("filter")
            yield None if part in (None, "*") else str(part), entry.get("value")

    def _text(self, key: str, parameter: Parameter, value: Yaml) -> str:
        if isinstance(value, bool):
            return parameter.words[value]
        if isinstance(value, list):
            points = [self._number(key, point) for point in value]
            return f"gradient({','.join(points)})"
        return self._number(key, value)

    def _number(self, key: str, value: Yaml) -> str:
        """Return a number; YAML 1.1 reads ``1e-4``, without a point, as text."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return repr(value)
        try:
            return repr(float(str(value)))
        except ValueError:
            self._wrong.append(f"{key} {value}")
            return "0"


def _filters(cases: Iterable[tuple[str, str | None, Cases]]) -> list[str]:
    return list(dict.fromkeys(part for _, _, each in cases for part, _ in each if part is not None))


def _subsets(filters: Sequence[str]) -> Iterator[frozenset[str]]:
    """Yield the sets of filters that can match together: the smaller first, the first filter last.

    A filter that is part of another one always matches with it.
    """
    for size in range(1, len(filters) + 1):
        for chosen in itertools.combinations(reversed(filters), size):
            if all(part in chosen for one in chosen for part in filters if part in one):
                yield frozenset(chosen)


def _together(filters: Iterable[str]) -> set[str]:
    """Return globs, without the outer stars, for the names that all of these are part of."""
    longest = [one for one in filters if not any(one != two and one in two for two in filters)]
    found: set[str] = set()
    for order in itertools.permutations(longest):
        found |= set(_chained(("",), order[0], order[1:]))
        if len(found) > MOST_GLOBS:
            break
    return found


def _chained(done: tuple[str, ...], last: str, left: tuple[str, ...]) -> Iterator[str]:
    """Yield the ways in which texts follow one another in a name, overlapping or apart."""
    if not left:
        yield "*".join(_escaped(part) for part in (*done, last) if part)
        return
    following = left[0]
    yield from _chained((*done, last), following, left[1:])
    for overlap in range(1, min(len(last), len(following))):
        if last.endswith(following[:overlap]):
            yield from _chained(done, last + following[overlap:], left[1:])


def _escaped(text: str) -> str:
    """Return a glob of this text: what has a meaning in rules becomes any character."""
    return re.sub(r"[{},\s*\[\]]", "?", text)
