"""The part in C, which pyproject.toml cannot name yet without a warning.

Owns how it is built. Where it does not compile theta runs without it, at less speed:
docs/decisions/0012-loops-in-c.md.
"""

import sys
import sysconfig

from setuptools import Extension, setup

NATIVE = Extension(
    "theta_store.kernels.native",
    ["theta_store/kernels/native.c"],
    py_limited_api=True,
    # What some distributions build with is not enough for vector code.
    extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
    optional=True,
)
# One build serves Python 3.11 and all that follow. A Python without a global lock has no such
# interface: there the part in C is left out.
HAS_STABLE_INTERFACE = not sysconfig.get_config_var("Py_GIL_DISABLED")

if HAS_STABLE_INTERFACE:
    setup(ext_modules=[NATIVE], options={"bdist_wheel": {"py_limited_api": "cp311"}})
else:
    setup()
