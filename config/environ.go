package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Prefix begins the names of all environment variables.
const Prefix = "SERENO_"

// Environ lets the environment ("SERENO_LISTEN=…", as os.Environ gives it)
// write over the settings of c. The error tells every variable that is wrong,
// one line each; c is then of no use.
func (c *Config) Environ(environ []string) error {
	set := make(map[string]bool)
	err := env.ParseWithOptions(c, env.Options{
		Prefix:      Prefix,
		Environment: env.ToMap(environ),
		OnSet: func(name string, value any, isDefault bool) {
			if value != "" && !isDefault {
				set[name] = true
			}
		},
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[time.Duration](): func(s string) (any, error) { return parseDuration(s) },
		},
	})
	var errs []error
	if all, ok := errors.AsType[env.AggregateError](err); ok {
		for _, err := range all.Errors {
			errs = append(errs, variableError(err))
		}
		return errors.Join(errs...)
	}
	for _, e := range c.Validate() {
		key, _, _ := strings.Cut(e.Field, "[")
		if name := Prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_")); set[name] {
			errs = append(errs, fmt.Errorf("%s: %s", name, e.Text))
		}
	}
	return errors.Join(errs...)
}

// variableError names the variable instead of the Go field that it fills.
func variableError(err error) error {
	wrong, ok := errors.AsType[env.ParseError](err)
	if !ok {
		return err
	}
	field, _ := reflect.TypeFor[Config]().FieldByName(wrong.Name)
	name := Prefix + field.Tag.Get("env")
	switch field.Type.Kind() {
	case reflect.Bool:
		return fmt.Errorf("%s is true or false", name)
	case reflect.Int:
		return fmt.Errorf("%s is a whole number", name)
	case reflect.Slice:
		return fmt.Errorf("%s is a list of IP addresses such as 10.0.0.1,10.0.0.2", name)
	}
	return fmt.Errorf("%s: %w", name, wrong.Err)
}

// Variables returns the names of the variables that Environ reads, sorted.
func Variables() []string {
	var names []string
	for field := range reflect.TypeFor[Config]().Fields() {
		if key := field.Tag.Get("env"); key != "-" {
			names = append(names, Prefix+key)
		}
	}
	slices.Sort(names)
	return names
}
