"""Builds the compiled part: every .pyx or .py with a .pxd beside it (one truth, typed beside it).

All of it becomes one shared object, poolproxy/_core (poolproxy/_loader.py says why). Python finds a module in
it by the last part of its name, so these differ.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# A .pxd beside a .pyx declares it; one beside a .py types it.
SOURCES = sorted(
    source
    for pxd in Path("poolproxy").rglob("*.pxd")
    for source in (pxd.with_suffix(".pyx"), pxd.with_suffix(".py"))
    if source.exists()
)

CORES = os.cpu_count() or 1

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,
    "auto_pickle": False,
    "embedsignature": True,
    "initializedcheck": False,
}


class BuildCore(build_ext):
    """Compiles the modules side by side, and only those that have changed."""

    def build_extension(self, ext):
        def compiled(source):
            (result,) = self.compiler.object_filenames([source], output_dir=self.build_temp)
            path = Path(result)
            if self.force or not path.exists() or path.stat().st_mtime <= Path(source).stat().st_mtime:
                self.compiler.compile(
                    [source], output_dir=self.build_temp, extra_postargs=ext.extra_compile_args
                )
            return result

        with ThreadPoolExecutor(CORES) as threads:
            objects = list(threads.map(compiled, ext.sources))
        self.compiler.link_shared_object(objects, self.get_ext_fullpath(ext.name))


names = [source.stem for source in SOURCES]
assert len(names) == len(set(names)), f"two compiled modules of one name: {sorted(names)}"

modules = cythonize(
    [Extension(".".join(source.with_suffix("").parts), [str(source)]) for source in SOURCES],
    compiler_directives=DIRECTIVES,
    nthreads=CORES,
)

setup(
    ext_modules=[
        Extension(
            "poolproxy._core",
            [source for module in modules for source in module.sources],
            # A bound method of another module's class gets a wrong signature where its .pxd declares it:
            # newer compilers refuse that, so ours does.
            extra_compile_args=["-O2", "-g0", "-Werror=incompatible-pointer-types"],
        )
    ],
    cmdclass={"build_ext": BuildCore},
)
