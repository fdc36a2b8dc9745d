"""Maps the folders configs/ and tools/ into the package; the metadata is in pyproject.toml."""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

# Tools for those who measure and write the pages, as tools/bench and tools/studies are.
CHECKOUT_ONLY = {"benchmark", "compare", "machine", "quickstart", "results", "stacks"}


class BuildPackage(build_py):
    """Leaves the tools out that work in a checkout alone."""

    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        return [
            row for row in found if package != "aal_plugin.tools" or row[1] not in CHECKOUT_ONLY
        ]


setup(
    cmdclass={"build_py": BuildPackage},
    packages=[
        *find_packages(include=["aal_plugin", "aal_plugin.*"]),
        "aal_plugin.configs",
        "aal_plugin.tools",
    ],
    package_dir={"aal_plugin.configs": "configs", "aal_plugin.tools": "tools"},
    package_data={
        "aal_plugin": ["py.typed", "**/*.js", "**/*.css", "**/*.html"],
        "aal_plugin.configs": ["**/*.py", "**/*.yml", "**/*.md"],
        "aal_plugin.tools": ["*.sh", "analysis/*.py"],
    },
    include_package_data=False,
)
