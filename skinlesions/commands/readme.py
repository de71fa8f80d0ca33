"""Keep the README's results in step with the published report in reports/."""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError
from skinlesions.report import results

BEGIN = "<!-- results:begin -->"
END = "<!-- results:end -->"
README = paths.ROOT / "README.md"

_BLOCK = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the choice to change nothing."""
    parser.add_argument("--check", action="store_true", help="change nothing, fail if README.md is out of step")


def run(arguments: argparse.Namespace) -> None:
    """Write the block, or fail if it is out of step."""
    if arguments.check:
        check()
    else:
        renew()


def renew() -> None:
    """Write the results of the published report into the README.

    Raises:
        UserError: the report is not complete, or the README lacks its markers.
    """
    text = README.read_text(encoding="utf-8")
    new = updated(text, block(paths.REPORTS))
    if new != text:
        files.write_text(README, new)


def check() -> None:
    """Refuse a README whose results are not those of the published report.

    Raises:
        UserError: so it is, or as `renew`.
    """
    text = README.read_text(encoding="utf-8")
    if updated(text, block(paths.REPORTS)) != text:
        raise UserError("README.md is not in step with reports/; run `skinlesions readme`")


def block(reports: Path) -> str:
    """The markdown between the markers: the figure of the comparison and its table.

    Args:
        reports: the folder of the published report, beside the README.

    Raises:
        UserError: the report is not complete.
    """
    try:
        confidence = files.read_json(reports / "provenance.json")["parameters"]["compare"]["confidence"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{paths.relative(reports)}/provenance.json cannot be read: {error!r}; run `make report`"
        ) from None
    table = results.headline(reports / "tables" / "compare", confidence)
    figure = f"{reports.name}/figures/compare/{results.FIGURE}.png"
    lines = [
        f"[![Balanced accuracy of every model with its interval; the numbers are in the table below]({figure})]"
        f"({reports.name}/notebooks/04_compare.ipynb)",
        "",
        _row(table.columns),
        _row([":--", ":--", *["--:"] * (len(table.columns) - 2)]),
        *(_row(row) for row in table.itertuples(index=False)),
    ]
    return "\n".join([BEGIN, *lines, END])


def updated(text: str, replacement: str) -> str:
    """`text` of a README with `replacement` in the place of its block.

    Raises:
        UserError: `text` does not have the two markers exactly once.
    """
    if len(_BLOCK.findall(text)) != 1 or text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UserError(
            f"README.md must have one line {BEGIN} and after it one line {END}; the results go between them"
        )
    return _BLOCK.sub(lambda _: replacement, text)


def _row(cells: Iterable[object]) -> str:
    """`cells` as a row of a markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
