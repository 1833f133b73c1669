"""Reads each example with its datamodel-code-generator model, and what it writes again."""

import json
import sys

import models

for example in json.load(open(sys.argv[1])):
    model = getattr(models, example["schema"])
    read = model.model_validate(example["body"])
    # Times are equal, and written in another form.
    assert model.model_validate_json(read.model_dump_json(exclude_unset=True)) == read
