"""Sphinx: which page is which page of the manual, and what these need.

`python -m sphinx -b man docs build/man` writes them; the package has them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from docutils import nodes
from sphinx.addnodes import pending_xref

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_DOCS: Final = Path(__file__).parent
# Where the package has the pages that are not in the manual.
_INSTALLED: Final = "/usr/share/doc/hotplugd"
_WHAT: Final = "physical devices into running LXD and Incus instances, by rules"
# The page of the docs, its name in the manual, and the section there (man(1)). How-tos are of section 7,
# and the rest of the reference is of section 5.
_NAMED: Final = (
    ("reference/commands", "hotplugd", 1),
    ("reference/configuration", "hotplugd-config", 5),
    ("reference/service", "hotplugd.service", 8),
    ("tutorial", "hotplugd-tutorial", 7),
)


def pages() -> list[tuple[str, str, str, str, int]]:
    """What Sphinx's `man_pages` wants: page, name, description, author, section."""
    named = {page for page, _, _ in _NAMED}
    found = [
        (f"{folder}/{each.stem}", f"hotplugd-{each.stem}", section)
        for folder, section in (("how-to", 7), ("reference", 5))
        for each in sorted((_DOCS / folder).glob("*.md"))
    ]
    every = (*_NAMED, *(each for each in found if each[0] not in named))
    return [(page, name, _title(page), "", section) for page, name, section in every]


def _title(page: str) -> str:
    """What apropos(1) lists: the page's heading, and for the program what it is."""
    if page == _NAMED[0][0]:
        return _WHAT
    title = re.findall(r"(?m)^# (.*)", (_DOCS / f"{page}.md").read_text("utf-8"))[0]
    return f"{title[0].lower()}{title[1:]}" if title[1].islower() or title[1] == " " else title


def _prepare(app: Sphinx, tree: nodes.document) -> None:
    """For the manual: links say where they lead, and tables are lists, for narrow terminals."""
    if app.builder.name != "man":
        return
    names = {page: f"{name}({section})" for page, name, _, _, section in pages()}
    own = app.env.docname
    for link in list(tree.findall(pending_xref)):
        target = str(link["reftarget"]).partition("#")[0].removesuffix(".md")
        page = (
            target if target in names else posixpath.normpath(posixpath.join(posixpath.dirname(own), target))
        )
        where = ""
        if page in names and page != own:
            where = f" ({names[page]})"
        elif target and (_DOCS / f"{page}.md").exists() and page not in names:
            where = f" ({_INSTALLED}/{page}.md)"
        # Without the link itself, of which the page would show an empty address.
        link.parent.replace(link, [*link.children, nodes.Text(where)])
    if own == _NAMED[0][0]:
        tree.children[-1].append(_others(own))
    for table in list(tree.findall(nodes.table)):
        rows = [list(each.findall(nodes.entry, descend=True)) for each in table.findall(nodes.row)]
        if rows:
            table.replace_self(_listed(*rows))


def _others(own: str) -> nodes.section:
    """Which pages there are besides."""
    items = [
        nodes.definition_list_item(
            "", nodes.term("", f"{name}({section})"), nodes.definition("", nodes.paragraph("", about))
        )
        for page, name, about, _, section in pages()
        if page != own
    ]
    return nodes.section(
        "",
        nodes.title("", "See also"),
        nodes.definition_list("", *items),
        ids=["see-also"],
        names=["see also"],
    )


def _listed(header: list[nodes.entry], *rows: list[nodes.entry]) -> nodes.definition_list:
    """A list: the first cell of a row is the term, and what the others say is named by the header."""
    items = []
    for term, *cells in rows:
        inline = [child for part in term.children for child in part.children]
        definition = nodes.definition("")
        for title, cell in zip(header[1:], cells, strict=True):
            if len(cells) > 1 and cell.children and (name := title.astext()):
                cell.children[0].insert(0, nodes.Text(f"{name}: "))
            definition += cell.children
        items.append(nodes.definition_list_item("", nodes.term("", "", *inline), definition))
    return nodes.definition_list("", *items)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls it."""
    app.connect("doctree-read", _prepare)
    return {"parallel_read_safe": True}
