"""Tables as pandas writes them into notebooks, made easier to read on a page."""

import re

_ROW = re.compile(r"<tr\b[^>]*>(.*?)</tr>", re.DOTALL)
_CELL = re.compile(r"<(t[hd])\b([^>]*)>(.*?)</t[hd]>", re.DOTALL)
_BODY = re.compile(r"<tbody>(.*?)</tbody>", re.DOTALL)
_HEAD = re.compile(r"<thead>(.*?)</thead>", re.DOTALL)
_SPAN = re.compile(r'\b(?:row|col)span="?\d+"?')
_NUMBER = re.compile(r"[-−+]?[\d.,]*(e[-+]?\d+)?\s?%?|nan|none|&lt;na&gt;|[-−+]?inf|true|false|[-–]", re.IGNORECASE)


def tidy(table: str) -> str:
    """The HTML of one DataFrame with its text to the left, one line of headers, and headers that may break at `_`.

    What is not the HTML of a DataFrame, plain or styled, with one level of columns is returned as it is. The classes
    and ids that a Styler gives every cell are left out: they serve its style sheet.
    """
    head, body = _HEAD.search(table), _BODY.search(table)
    if head is None or body is None:
        return table
    rows = [_CELL.findall(row) for row in _ROW.findall(body.group(1))]
    widths = {sum(tag == "td" for tag, _, _ in row) for row in rows}
    headers = [_CELL.findall(row) for row in _ROW.findall(head.group(1))]
    if len(widths) != 1 or not 1 <= len(headers) <= 2:
        return table
    columns = widths.pop()
    values = [[content for tag, _, content in row if tag == "td"] for row in rows]
    is_text = [any(not _NUMBER.fullmatch(row[column].strip()) for row in values) for column in range(columns)]

    header = _merged(headers, columns)
    if header is None:
        return table
    lines = ["<tr>"]
    for position, content in enumerate(header, start=columns - len(header)):
        lines.append(_cell("th", ' scope="col"', content.replace("_", "_<wbr>"), position >= 0 and is_text[position]))
    lines.append("</tr>")

    def aligned(match: re.Match) -> str:
        position = -1

        def cell(found: re.Match) -> str:
            nonlocal position
            tag, attributes, content = found.groups()
            spans = "".join(f" {span}" for span in _SPAN.findall(attributes))
            if tag == "th":
                return _cell("th", f'{spans} scope="row"', content, True)
            position += 1
            return _cell("td", spans, content, is_text[position])

        return _CELL.sub(cell, match.group())

    content = _ROW.sub(aligned, body.group())
    return (
        table[: head.start()]
        + f"<thead>{''.join(lines)}</thead>"
        + table[head.end() : body.start()]
        + content
        + (table[body.end() :])
    )


def _merged(headers: list[list[tuple[str, str, str]]], columns: int) -> list[str] | None:
    """One line of headers out of the line of columns and that of the names of the index; None if they overlap."""
    first, *rest = [[content.replace("&nbsp;", "").strip() for _, _, content in row] for row in headers]
    if not rest:
        return first
    names = rest[0]
    split = len(first) - columns
    if len(names) != len(first) or any(first[:split]) or any(names[split:]):
        return None
    return names[:split] + first[split:]


def _cell(tag: str, attributes: str, content: str, is_text: bool) -> str:
    """One cell of a table."""
    marked = attributes + ' class="text"' if is_text else attributes
    return f"<{tag}{marked}>{content}</{tag}>"
