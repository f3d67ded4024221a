package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// reference is a part of a text that stands elsewhere: ${env:NAME} in the
// environment, ${file:PATH} in a file, whose last line break does not count.
var reference = regexp.MustCompile(`\$\{(env|file):([^}]*)\}`)

// secret reads a text that may hold references, so that a secret need not be
// in the file.
func (r *reader) secret(n *yaml.Node, of string) (string, bool) {
	s, ok := r.text(n, of)
	if !ok {
		return "", false
	}
	expanded := reference.ReplaceAllStringFunc(s, func(whole string) string {
		parts := reference.FindStringSubmatch(whole)
		value, err := resolveReference(parts[1], parts[2])
		if err != nil {
			ok = false
			r.wrong(n, "%s: %s", of, err)
		}
		return value
	})
	return expanded, ok
}

func resolveReference(where, name string) (string, error) {
	if where == "env" {
		value, set := os.LookupEnv(name)
		if !set {
			return "", fmt.Errorf("the environment has no variable %s, which ${env:%s} asks for", name, name)
		}
		return value, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("${file:%s} cannot be read: %w", name, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}
