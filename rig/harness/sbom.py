#!/usr/bin/env python3
"""sbom.py ZTLAB LAB: the bills of materials of a lab and of its apps against CycloneDX's own schema, twice each.

The schema comes with the package cyclonedx-python-lib[json-validation]; nothing is downloaded.
"""

import json
import subprocess
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main(program, lab):
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    failed = 0
    subjects = [[], ["backend"], ["frontend"]]
    for subject in subjects:
        command = [program, "--offline", "--lab", lab, "sbom", *subject]
        first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
        error = validator.validate_str(first)
        # A schema that takes anything would make this check worthless: one wrong word has to be found.
        wrong = json.loads(first)
        wrong["components"][0]["type"] = "spaceship"
        found = validator.validate_str(json.dumps(wrong))
        good = error is None and first == second and found is not None
        failed += not good
        print("ok   " if good else "FAIL ", "sbom", *subject, len(json.loads(first)["components"]), "components", error or "")
    print(f"{len(subjects) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
