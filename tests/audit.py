"""make audit: pip-audit over what is installed. Exit code 1 for a known vulnerability, 0 where nobody could be asked.

    python tests/audit.py [--ignore-vuln ID]

pip-audit asks pypi.org's advisory service, then osv.dev. A machine that reaches neither cannot be audited; that is said, and it
is no failure: CI must not depend on the network.
"""

import json
import subprocess
import sys

SERVICES = ("pypi", "osv")
TIMEOUT_S = 300


def audited(service: str, options: list[str]) -> tuple[str, dict | None]:
    """(what stood in the way, pip-audit's findings); the findings are None where the service cannot be reached."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable"]
    try:
        done = subprocess.run([*command, "--vulnerability-service", service, *options], capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S} s", None
    try:
        return "", json.loads(done.stdout)
    except ValueError:
        return (done.stderr.strip().splitlines() or ["no output"])[-1][:300], None


def findings(report: dict) -> list[str]:
    """One line per vulnerability."""
    lines = []
    for package in report["dependencies"]:
        for found in package.get("vulns", []):
            fixed = ", ".join(found["fix_versions"]) or "no release"
            lines.append(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    return lines


def main() -> int:
    for service in SERVICES:
        obstacle, report = audited(service, sys.argv[1:])
        if report is not None:
            found = findings(report)
            print("\n".join([f"audit ({service}): {len(report['dependencies'])} packages, {len(found)} known vulnerabilities", *found]))
            return 1 if found else 0
        print(f"audit: {service} cannot be asked ({obstacle})")
    print("audit: NOT DONE, no advisory service can be reached from here; nothing was checked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
