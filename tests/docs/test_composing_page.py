"""The manifests of the page on composing are manifests."""

from tests.docs.pages import DOCS, blocks
from theta.compose import Given, parse_manifest

PAGE = DOCS / "how-to" / "composing.md"


def test_the_manifests_can_be_read() -> None:
    found = [parse_manifest(b.text.encode(), "a.toml") for b in blocks(PAGE.read_text(), "toml")]
    assert [manifest.mode for manifest in found] == ["moe", "moe", "smear"]
    assert found[1].router is None
    assert not any(isinstance(manifest.router, Given) for manifest in found)
