"""Runs a Python file with one backend of Keras and as if the other were not installed: `alone.py HIDDEN FILE ...`."""

import importlib.machinery
import runpy
import sys

HIDDEN = sys.argv[1]


class Without(importlib.machinery.PathFinder):
    """Python's own search for modules, which does not find those of HIDDEN, nor what was installed with it.

    An import fails and a look-up finds nothing, as where the package is absent. (A None in sys.modules would not do:
    Keras takes the name alone for a sign that the package has been imported.)
    """

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] == HIDDEN else super().find_spec(fullname, path, target)


sys.meta_path = [Without if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
