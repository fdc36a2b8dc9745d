"""What a page holds, taken apart by the standard library's parser."""

import json
from html.parser import HTMLParser


class PageParts(HTMLParser):
    """Tags in order, the numbers of the links, and the text of sections, tables and headings."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.sections, self.tables, self.headings, self.links = [], {}, [], [], None
        self.lines = {}  # of each curve, by group: its points in the picture
        self._open = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        around, group = dict(self._open), self._open[-1][1].get("class", "") if self._open else ""
        line = group.startswith("group-") and "fill: none" in attrs.get("style", "")
        if tag == "path" and line:  # not a band
            points = [tuple(map(float, line.split()[1:])) for line in attrs["d"].splitlines()]
            self.lines[around["figure"]["data-key"]].setdefault(group, points)
        elif "data-key" in attrs:
            self.lines[attrs["data-key"]] = {}
        self.tags.append((tag, attrs))
        self._open.append((tag, attrs))
        if tag == "section":
            self.sections[attrs["id"]] = ""
        elif tag in ("h1", "h2", "h3"):
            self.headings.append((tag, ""))
        elif tag == "table" and "heatmap" not in attrs["class"]:  # the script fills that
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        around = dict(self._open)
        if "script" in around:
            if around["script"].get("id") == "links-data":
                self.links = json.loads(data)
            return
        if "section" in around:
            self.sections[around["section"]["id"]] += data
        for tag in around.keys() & {"h1", "h2", "h3"}:
            self.headings[-1] = (tag, self.headings[-1][1] + data)
        if around.keys() & {"th", "td"}:
            self.tables[-1][-1][-1] += data

    def all(self, wanted):
        """The attributes of every such tag."""
        return [attrs for tag, attrs in self.tags if tag == wanted]

    def curve(self, key):
        """The points of each group's line, and the numbers below the picture."""
        tables = [table for table in self.tables if table[0][0] in ("epoch", "iteration")]
        return self.lines[key], tables[list(self.lines).index(key)]
