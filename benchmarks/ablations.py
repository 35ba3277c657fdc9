"""Write results/ablations/ from the records, one page per file of benchmarks/ablations/; --check only compares.

python benchmarks/ablations.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kdbench.errors import UserError
from kdbench.results.ablations import ablation_files
from kdbench.results.pages import stale_pages, write_pages

HERE = Path(__file__).parent
FILES = sorted((HERE / "ablations").glob("*.yaml"))


def main() -> int:
    """Write or check the pages; return 1 if a page is out of date."""
    parser = argparse.ArgumentParser(description=__doc__.partition(";")[0])
    parser.add_argument("--check", action="store_true", help="fail where a page is not what the records give")
    check = parser.parse_args().check
    try:
        results = HERE.parent / "results"
        files = ablation_files(FILES, results)
        lines = stale_pages(files, results / "ablations") if check else write_pages(files)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in lines:
        print(line)
    return 1 if check and lines else 0


if __name__ == "__main__":
    sys.exit(main())
