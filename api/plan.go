package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
)

// readDevices reads one device, or {"items": [ … ]}; many says which. Every
// mistake in the shape of the documents is found, up to maxMistakes.
func readDevices(schemas huma.Registry, body []byte) (devices []Device, many bool, err error) {
	var list struct {
		Items *[]json.RawMessage `json:"items"`
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, false, malformed(err)
		}
		return nil, false, shapeless("body", "expected a device, or an object with items")
	}
	if _, many = object["items"]; !many {
		device, err := readDevice(schemas, body)
		return []Device{device}, false, err
	}
	if err := json.Unmarshal(body, &list); err != nil || list.Items == nil {
		return nil, true, shapeless("body.items", "expected array")
	}
	if len(object) > 1 {
		return nil, true, shapeless("body", "expected nothing beside items")
	}
	if len(*list.Items) == 0 {
		return nil, true, shapeless("body.items", "expected at least one device")
	}
	var wrong []error
	devices = make([]Device, len(*list.Items))
	for i, item := range *list.Items {
		wrong = append(wrong, read(schemas, item, fmt.Sprintf("body.items[%d]", i), &devices[i])...)
		if len(wrong) >= maxMistakes {
			break
		}
	}
	return devices, true, invalid(wrong)
}

// readDevice reads one device.
func readDevice(schemas huma.Registry, body []byte) (Device, error) {
	if !json.Valid(body) {
		return Device{}, malformed(json.Unmarshal(body, new(any)))
	}
	var device Device
	return device, invalid(read(schemas, body, "body", &device))
}

// read checks a valid JSON text against the description of T and decodes it.
func read[T any](schemas huma.Registry, text []byte, location string, to *T) []error {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return []error{&huma.ErrorDetail{Location: location, Message: err.Error()}}
	}
	var found huma.ValidateResult
	path := huma.NewPathBuffer(nil, 0)
	path.Push(location)
	huma.Validate(schemas, schemas.Schema(reflect.TypeFor[T](), true, ""), path, huma.ModeWriteToServer, value, &found)
	if len(found.Errors) == 0 {
		if err := json.Unmarshal(text, to); err != nil {
			found.Errors = append(found.Errors, &huma.ErrorDetail{Location: location, Message: err.Error()})
		}
	}
	return found.Errors
}

func malformed(err error) error {
	return newProblem(http.StatusBadRequest, fmt.Sprintf("the body is not JSON: %v", err))
}

func shapeless(location, message string) error {
	return invalid([]error{&huma.ErrorDetail{Location: location, Message: message}})
}

// invalid makes one error of what is wrong with a body, nil of nothing.
func invalid(wrong []error) error {
	if len(wrong) == 0 {
		return nil
	}
	p := newProblem(http.StatusUnprocessableEntity, "")
	for _, err := range wrong[:min(len(wrong), maxMistakes)] {
		p.Add(err)
	}
	return summarise(p)
}

// validate finds the mistakes in devices that are to be watched, by the rules
// of every plan and by the kinds' own. What only the store can know for sure (a
// name that is taken, a circle through other devices) is the Plan's to find.
func (d *desk) validate(ctx context.Context, devices []sereno.Device, many bool) error {
	var failed error
	known := func(name string) bool {
		there, err := d.named(ctx, name)
		failed = errors.Join(failed, err)
		return len(there) > 0
	}
	var found []error
	for _, e := range sereno.ValidateDevices(devices, known) {
		found = append(found, e)
	}
	if failed != nil {
		return fmt.Errorf("look for a parent: %w", failed)
	}
	for i, device := range devices {
		for k, c := range device.Checks {
			found = append(found, d.validateKind(c, fmt.Sprintf("devices[%d].checks[%d]", i, k))...)
		}
	}
	return located(errors.Join(found...), many)
}

func (d *desk) validateKind(c sereno.Check, field string) []error {
	var names []string
	for _, kind := range d.Kinds {
		if kind.Name() == c.Kind {
			if err := kind.Validate(c.Settings); err != nil {
				return []error{&sereno.Error{Kind: sereno.Invalid, Field: field + ".settings", Text: err.Error()}}
			}
			return nil
		}
		names = append(names, kind.Name())
	}
	return []error{&sereno.Error{
		Kind: sereno.Invalid, Field: field + ".kind",
		Text: fmt.Sprintf("there is no kind of check called %.100q; there are: %s", c.Kind, strings.Join(names, ", ")),
	}}
}

// located names the places of mistakes in devices as the body of the request
// has them: "body.items[3].checks[0].interval_seconds" for
// "devices[3].checks[0].interval". Errors without a place stay as they are.
func located(err error, many bool) error {
	var found []error
	for e := range mistakes(err) {
		if e.Field != "" {
			e = &sereno.Error{Kind: e.Kind, Text: e.Text, Field: location(e.Field, many)}
		}
		found = append(found, e)
	}
	if len(found) == 0 {
		return err
	}
	return errors.Join(found...)
}

func location(field string, many bool) string {
	if inside, ok := strings.CutPrefix(field, "devices["); !ok {
		field = "body." + field
	} else if many {
		field = "body.items[" + inside
	} else {
		_, inside, _ = strings.Cut(inside, "]")
		field = "body" + inside
	}
	for _, length := range [...]string{".interval", ".timeout", ".rtt_above", ".loss_window"} {
		if strings.HasSuffix(field, length) {
			return field + "_seconds"
		}
	}
	return field
}
