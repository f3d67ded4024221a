package notify

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"sereno"
)

// Decode reads a kind's settings into the struct that into points to, by the
// names in its json tags. It finds every mistake: the error is joined of
// sereno.Errors of kind Invalid, Field being the setting. Values are never
// repeated, because any of them may be a secret.
func Decode(settings json.RawMessage, into any) error {
	if len(bytes.TrimSpace(settings)) == 0 || string(bytes.TrimSpace(settings)) == "null" {
		settings = json.RawMessage("{}")
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(settings, &given); err != nil {
		return sereno.Errorf(sereno.Invalid, "the settings are a map of names and values")
	}
	fields := map[string]reflect.Value{}
	v := reflect.ValueOf(into).Elem()
	for field, value := range v.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = value
		}
	}
	known := slices.Sorted(maps.Keys(fields))
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		field, ok := fields[name]
		if !ok {
			guess := sereno.DidYouMean(name, slices.Values(known))
			if guess == "" {
				guess = "; there are " + strings.Join(known, ", ")
				if len(known) == 0 {
					guess = "; there is nothing to set"
				}
			}
			wrong = append(wrong, Wrong(name, "there is no setting %q%s", Cut(Line(name), 100), guess))
			continue
		}
		d := json.NewDecoder(bytes.NewReader(given[name]))
		d.DisallowUnknownFields()
		if err := d.Decode(field.Addr().Interface()); err != nil {
			wrong = append(wrong, typeMistake(name, field, err))
		}
	}
	return errors.Join(wrong...)
}

func typeMistake(name string, field reflect.Value, err error) error {
	if e, ok := errors.AsType[*sereno.Error](err); ok {
		return Wrong(name, "%s", e.Text)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		given, _, _ := strings.Cut(e.Value, " ") // "number 1e400" repeats the value
		if given == "bool" {
			given = "true or false"
		}
		if shape := shapeOf(e.Type); given != "number" || shape != wholeNumber {
			return Wrong(name, "it is %s, not %s", shape, article(given))
		}
		return Wrong(name, "it is %s", wholeNumber) // this one has a fraction, or is too large
	}
	return Wrong(name, "it is %s", shapeOf(field.Type()))
}

const wholeNumber = "a whole number"

func shapeOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a text (in quotes)"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list of which each is " + shapeOf(t.Elem())
	case reflect.Map, reflect.Struct:
		return "a map of names and values"
	case reflect.Pointer:
		return shapeOf(t.Elem())
	}
	return wholeNumber
}

func article(given string) string {
	switch given {
	case "string":
		return "a text"
	case "number":
		return "a number"
	case "array":
		return "a list"
	case "object":
		return "a map"
	}
	return given
}

// Wrong is a mistake in one setting.
func Wrong(setting, format string, args ...any) error {
	return &sereno.Error{Kind: sereno.Invalid, Field: setting, Text: fmt.Sprintf(format, args...)}
}

// CheckURL says what is wrong with a setting that is the URL of a far end: it is
// http or https, has a host, no fragment and no spaces. The error does not
// repeat it.
func CheckURL(setting, value string) error {
	u, err := url.Parse(value)
	switch {
	case value == "":
		return Wrong(setting, "it is missing")
	case err != nil, strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return Wrong(setting, "it is not a URL such as https://example.com/path")
	case u.Scheme != "http" && u.Scheme != "https":
		return Wrong(setting, "it begins with https:// or http://; nothing else is spoken")
	case u.Hostname() == "":
		return Wrong(setting, "it has no host; a URL is such as https://example.com/path")
	case u.Fragment != "":
		return Wrong(setting, "a URL that is sent to has no part behind #")
	}
	return nil
}

// Roots reads the certificate authorities of a setting, as PEM. nil, the
// system's, for an empty one.
func Roots(setting, pem string) (*x509.CertPool, error) {
	if strings.TrimSpace(pem) == "" {
		return nil, nil
	}
	if !strings.Contains(pem, "-----BEGIN") {
		return nil, Wrong(setting, "it is the certificate itself, as PEM; to read it from a file write ${file:/etc/ssl/own-ca.pem}")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, Wrong(setting, "there is no certificate in it that can be read; it is PEM, -----BEGIN CERTIFICATE----- and so on")
	}
	return pool, nil
}
