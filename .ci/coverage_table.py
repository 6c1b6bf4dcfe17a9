"""Print line coverage by crate from llvm-cov's JSON summaries; fail when a library crate is at or below the limit."""
import collections
import json
import os
import sys

LIBRARIES = ["simd", "storage", "index", "datasets", "reports"]
limit = float(sys.argv[1])
entries = [entry for path in sys.argv[2:] for entry in json.load(open(path))["data"][0]["files"]]
root = os.getcwd() + os.sep
lines, covered, files = collections.Counter(), collections.Counter(), []
for entry in entries:
    name = entry["filename"].removeprefix(root)
    crate, counts = name.split(os.sep)[0], entry["summary"]["lines"]
    lines[crate] += counts["count"]
    covered[crate] += counts["covered"]
    files.append((counts["percent"], counts["count"] - counts["covered"], name))

print("least covered files:")
for percent, missed, name in sorted(files)[:12]:
    print(f"  {percent:6.2f} %  {missed:4d} lines missed  {name}")
low = []
print("line coverage by crate:")
for crate in sorted(lines):
    percent = 100 * covered[crate] / lines[crate]
    print(f"  {crate:10s} {percent:6.2f} %  ({covered[crate]} of {lines[crate]} lines)")
    if crate in LIBRARIES and percent <= limit:
        low.append(crate)
missing = [crate for crate in LIBRARIES if crate not in lines]
if low or missing:
    sys.exit(f"line coverage must be above {limit:g} %: too low in {low}, not measured in {missing}")
