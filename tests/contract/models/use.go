// Reads each example with its model. Every value of the example is in what the model writes.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
)

type example struct {
	Schema string
	Body   json.RawMessage
}

// Models leave out optional numbers that are 0.
func contains(all, part any) bool {
	switch part := part.(type) {
	case map[string]any:
		others, ok := all.(map[string]any)
		for key, value := range part {
			ok = ok && contains(others[key], value)
		}
		return ok
	case []any:
		others, ok := all.([]any)
		ok = ok && len(others) == len(part)
		for i := range part {
			ok = ok && contains(others[i], part[i])
		}
		return ok
	}
	return reflect.DeepEqual(all, part) || all == nil && part == 0.0
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	var examples []example
	if err == nil {
		err = json.Unmarshal(text, &examples)
	}
	for _, example := range examples {
		model := models[example.Schema]()
		var before, after any
		if err == nil {
			err = json.Unmarshal(example.Body, model)
		}
		written, _ := json.Marshal(model)
		json.Unmarshal(example.Body, &before)
		json.Unmarshal(written, &after)
		if err == nil && !contains(after, before) {
			err = fmt.Errorf("%s became %s", example.Body, written)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
