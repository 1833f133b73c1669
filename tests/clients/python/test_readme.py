"""The example in README.md, for a few seconds instead of minutes."""

import re
import subprocess
import sys

from processes import ROOT, Site

# Its heartbeats, and the address of its broker.
PAUSE, ADDRESS = "time_limit=30", '"amqp://user:password@localhost/%2f"'


def test_the_example_of_a_player_opens_its_stream_keeps_it_and_stops_it(site: Site) -> None:
    (example,) = re.findall("```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert PAUSE in example and ADDRESS in example
    example = example.replace(PAUSE, "time_limit=0.2").replace(ADDRESS, repr(site.url))
    example = example.replace('"streamwatch"', repr(f"{site.namespace}streamwatch"))
    ran = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("{'type': 'opened'"), ran.stdout
    stream = re.search(r"'stream': '([^']+)'", ran.stdout)
    assert stream, ran.stdout
    with site.client() as client:
        reply = client.status("alice", stream=stream[1], consistency="strong")
    assert (reply["state"], reply["activity"]["count"]) == ("stopped", 0)
