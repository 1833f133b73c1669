"""The progress of a measured worker, in the form of streamwatch's JSON log."""

import datetime
import json
import sys


def report(message, entries=0):
    now = datetime.datetime.now(datetime.UTC).isoformat()
    print(json.dumps({"timestamp": now, "message": message, "entries": entries}), file=sys.stderr, flush=True)
