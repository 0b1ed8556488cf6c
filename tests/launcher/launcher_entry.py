"""The launcher's entry for tests: the real one, with the tests' worker tasks registered."""

import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(here)), "src"))

from importlib.machinery import SourceFileLoader  # noqa: E402
from importlib.util import module_from_spec, spec_from_loader  # noqa: E402

from ketch.daemon import launcher_main  # noqa: E402

loader = SourceFileLoader("ketch.testing_tasks", os.path.join(here, "worker_tasks.py"))
spec = spec_from_loader(loader.name, loader)
assert spec is not None
module = module_from_spec(spec)
sys.modules[loader.name] = module
loader.exec_module(module)
launcher_main.main()
