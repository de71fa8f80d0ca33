"""The plain stages of the pipeline: each reads its parameters, calls the library and writes its outputs.

What DVC started ends with DVC. Begun here, before the imports of a stage, which take seconds; a stage that was started
by hand may outlive its terminal.
"""

import os

from skinlesions.core import lifeline

if "DVC_STAGE" in os.environ:
    lifeline.end_with_parent()
