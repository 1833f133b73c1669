"""Reads each example with its Modelina model, and writes the same JSON again."""

import importlib
import json
import re
import sys

for example in json.load(open(sys.argv[1])):
    name, body = example["schema"], example["body"]
    module = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    model = getattr(importlib.import_module(f"asyncapimodels.{module}"), name)
    read = model.model_validate(dict(body))
    assert json.loads(read.model_dump_json(exclude_none=True)) == body, body
