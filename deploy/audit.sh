#!/bin/sh
# Bill of materials (CycloneDX) of deploy/requirements.lock to build/sbom.json, and its known vulnerabilities to
# build/audit.json. Ends 1 where there is a vulnerability, 0 with a clear word where advisories can't be had.
set -eu
cd "$(dirname "$0")/.."
lock=deploy/requirements.lock
tools=build/audit-tools

[ -x $tools/bin/python ] || "${PYTHON:-python3}" -m venv $tools
$tools/bin/python -m pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7.5' 'pip-audit>=2.10'

# The public index by name: where this machine gets its packages from is no part of a release.
PYTHONWARNINGS=ignore $tools/bin/cyclonedx-py requirements $lock --pyproject pyproject.toml --index-url https://pypi.org/simple \
    --output-reproducible --output-format JSON --output-file build/sbom.json
echo "build/sbom.json: $(grep -c '"purl"' build/sbom.json) components"

rm -f build/audit.json build/audit.log
outcome=0
$tools/bin/pip-audit --disable-pip --require-hashes --requirement $lock --timeout 10 --progress-spinner off \
    --format json --output build/audit.json 2>build/audit.log || outcome=$?
OUTCOME=$outcome $tools/bin/python - <<'PYTHON'
import json
import os
import sys
from pathlib import Path

report = Path("build/audit.json")
text = report.read_text() if report.exists() else ""
if not text:
    reason = (Path("build/audit.log").read_text().strip() or "no answer").splitlines()[-1]
    print(f"NOT AUDITED: the advisory service can't be reached ({reason[:200]})")
    sys.exit(0)
found = json.loads(text)["dependencies"]
skipped = [part["name"] for part in found if "skip_reason" in part]
flawed = [part for part in found if part.get("vulns")]
for part in flawed:
    for flaw in part["vulns"]:
        print(f"{part['name']} {part['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no release yet'}")
if len(skipped) == len(found):
    print("NOT AUDITED: the advisory service can't be reached, or knows none of these packages")
elif skipped:
    print(f"NOT AUDITED: {', '.join(skipped)}")
print(f"{len(found) - len(skipped)} of {len(found)} packages audited, {len(flawed)} with known vulnerabilities")
sys.exit(1 if flawed or (int(os.environ["OUTCOME"]) and not skipped) else 0)
PYTHON
