"""Replaces the pinned hashes of Dataverse's files by those of the files in a folder: `python pins.py FOLDER`.

Only for a walk whose server has other copies of the images than Dataverse has; it changes the clone of the walk.
"""

import re
import sys
from pathlib import Path

from skinlesions.core import files

source = Path("skinlesions/data/sources/dataverse.py")
text = source.read_text(encoding="utf-8")
for path in sorted(Path(sys.argv[1]).iterdir()):
    size, md5, sha256 = f"{path.stat().st_size:_}", files.md5(path), files.sha256(path)
    text = re.sub(rf'("{path.name}",\s+)[\d_]+(,\s+)"\w+"(,\s+)"\w+"', rf'\g<1>{size}\2"{md5}"\3"{sha256}"', text)
    text = re.sub(rf'("{path.name}", None, )"\w+"', rf'\1"{md5}"', text)
source.write_text(text, encoding="utf-8")
