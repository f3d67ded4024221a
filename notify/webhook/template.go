package webhook

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/cbroglie/mustache"

	"sereno"
	"sereno/notify"
)

// A template writes a text of a document's values.
type template func(values map[string]any) (string, error)

const (
	maxTemplate = 64 << 10
	maxBody     = 4 << 20
)

// nothing gives no partials: a template never reads a file.
type nothing struct{}

func (nothing) Get(string) (string, error) { return "", errors.New("a template takes in no other one") }

// parse reads a mustache template all of whose values go through escape. It
// cannot be told to leave one as it is: names are chosen by others.
func parse(text string, escape func(string) string) (template, error) {
	switch {
	case len(text) > maxTemplate:
		return nil, fmt.Errorf("a template has at most %d bytes", maxTemplate)
	case strings.Contains(text, "{{{"), strings.Contains(text, "{{&"), strings.Contains(text, "{{ &"):
		return nil, errors.New("values are escaped for the format of the body, always: write {{name}}, with two braces")
	case strings.Contains(text, "{{="), strings.Contains(text, "{{ ="):
		return nil, errors.New("the braces of a template cannot be changed")
	}
	t, err := mustache.ParseStringPartials(text, nothing{})
	if err != nil {
		return nil, fmt.Errorf("the template is wrong: %w", err)
	}
	t.Escape(escape)
	if err := check(t.Tags(), nil); err != nil {
		return nil, err
	}
	return func(values map[string]any) (string, error) {
		var w bounded
		if err := t.FRender(&w, values); err != nil {
			return "", err
		}
		if w.full {
			return "", fmt.Errorf("the template makes more than %d bytes", maxBody)
		}
		return w.String(), nil
	}, nil
}

// bounded keeps maxBody bytes.
type bounded struct {
	strings.Builder
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.full = b.full || b.Len()+len(p) > maxBody; b.full {
		return 0, errors.New("too much")
	}
	return b.Builder.Write(p)
}

// The names of a document.
var (
	deviceNames   = []string{"id", "name", "address", "tags"}
	incidentNames = []string{"id", "thread", "status", "severity", "opened", "closed", "seconds", "reason", "under", "device"}
	topNames      = []string{
		"event", "delivery", "thread", "severity", "title", "text", "at", "last", "incident", "device", "incidents", "count", "links",
	}
	namesIn = map[string][]string{"incident": incidentNames, "incidents": incidentNames, "device": deviceNames, "links": {"open", "acknowledge"}}
	lists   = []string{"incidents", "tags"}
)

// check finds the tags that no document can fill. within are the names of the
// sections around them.
func check(tags []mustache.Tag, within []string) error {
	for _, tag := range tags {
		name := tag.Name()
		if tag.Type() == mustache.Partial {
			return fmt.Errorf("{{> %s}}: a template takes in no other one", name)
		}
		path := strings.Split(name, ".")
		last := path[len(path)-1]
		if name == "." {
			if len(within) == 0 || within[len(within)-1] != "tags" {
				return errors.New("{{.}} is for the elements of tags: {{#device.tags}}{{.}} {{/device.tags}}")
			}
			continue
		}
		if err := known(path, within); err != nil {
			return err
		}
		if tag.Type() == mustache.Variable {
			if _, whole := namesIn[last]; whole || slices.Contains(lists, last) {
				return fmt.Errorf("{{%s}} is more than one value: write {{#%s}}…{{/%s}} around those you want", name, name, name)
			}
			continue
		}
		if slices.Contains(within, last) && slices.Contains(lists, last) {
			return fmt.Errorf("{{#%s}} stands inside of itself", name)
		}
		if len(within) >= 6 {
			return fmt.Errorf("{{#%s}}: sections are nested at most 6 deep", name)
		}
		if err := check(tag.Tags(), append(slices.Clip(within), last)); err != nil {
			return err
		}
	}
	return nil
}

// known follows a path from each of the places it may begin at.
func known(path, within []string) error {
	begins := topNames
	for _, section := range within {
		begins = append(slices.Clip(begins), namesIn[section]...)
	}
	for i, name := range path {
		if !slices.Contains(begins, name) {
			guess := sereno.DidYouMean(name, slices.Values(begins))
			if guess == "" {
				guess = "; there are " + strings.Join(begins, ", ")
			}
			if i > 0 {
				return fmt.Errorf("there is no %q in %s%s", name, strings.Join(path[:i], "."), guess)
			}
			return fmt.Errorf("there is no {{%s}}%s", strings.Join(path, "."), guess)
		}
		begins = namesIn[name]
	}
	return nil
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

// escapeFor says how a value becomes harmless in a format.
func escapeFor(contentType string) func(string) string {
	media, _, _ := mime.ParseMediaType(contentType)
	switch {
	case isJSON(contentType):
		return func(s string) string {
			quoted, _ := json.Marshal(s) // a string always can
			return string(quoted[1 : len(quoted)-1])
		}
	case media == "application/x-www-form-urlencoded":
		return url.QueryEscape
	case strings.HasSuffix(media, "xml"), media == "text/html":
		return func(s string) string {
			var b strings.Builder
			if xml.EscapeText(&b, []byte(s)) != nil {
				return ""
			}
			return b.String()
		}
	}
	return notify.Lines
}
