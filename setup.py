"""What pyproject.toml cannot say: conf/, data/ and the two scripts travel in the wheel, as gold_style/project/."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ("conf", "data", "train.py", "evaluate.py")


class BuildWithProject(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # the checkout itself is used
            return
        project = Path(self.build_lib, "gold_style", "project")
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir(parents=True)
        for name in CARRIED:
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy
            copy(name, project / name)


setup(cmdclass={"build_py": BuildWithProject})
