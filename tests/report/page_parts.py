"""What a page holds, taken apart by the standard library's parser."""

import json
from html.parser import HTMLParser


class PageParts(HTMLParser):
    """Figures by id, tags in order, and the text of sections, tables and headings."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.figures, self.sections, self.tables, self.headings = [], {}, {}, [], []
        self._figure = self._section = self._heading = self._cell = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag == "script":
            self._figure = attrs.get("id", "script")
        elif tag == "section":
            self._section = attrs["id"]
            self.sections[self._section] = ""
        elif tag in ("h1", "h2", "h3"):
            self.headings.append((tag, ""))
            self._heading = True
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag == "table":
            self.tables.append([])
        elif tag in ("th", "td"):
            self._cell = ""

    def handle_endtag(self, tag):
        if tag == "script":
            self._figure = None
        elif tag == "section":
            self._section = None
        elif tag in ("h1", "h2", "h3"):
            self._heading = None
        elif tag in ("th", "td"):
            self.tables[-1][-1].append(self._cell)
            self._cell = None

    def handle_data(self, data):
        if self._figure is not None:
            if self._figure != "script":
                self.figures[self._figure] = json.loads(data)
            return
        if self._section is not None:
            self.sections[self._section] += data
        if self._heading:
            tag, text = self.headings[-1]
            self.headings[-1] = (tag, text + data)
        if self._cell is not None:
            self._cell += data

    def curve(self, key):
        """The figure of a logged number."""
        (found,) = (
            figure
            for name, figure in self.figures.items()
            if name.startswith("curve-") and figure["layout"]["meta"]["key"] == key
        )
        return found
