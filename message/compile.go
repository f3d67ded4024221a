package message

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cbroglie/mustache"

	"sereno"
)

// nothing gives no partials: a template never reads a file. Templates that ask
// for one are refused before.
type nothing struct{}

func (nothing) Get(string) (string, error) { return "", nil }

// compile reads a template and finds what would go wrong in the night: names
// that do not exist, sections that are not closed.
func compile(text string) (*mustache.Template, error) {
	if len(text) > MaxTemplate {
		return nil, fmt.Errorf("a template has at most %d bytes, not %d", MaxTemplate, len(text))
	}
	if strings.ContainsRune(text, 0) {
		return nil, errors.New("a template holds no NUL")
	}
	t, err := mustache.ParseStringPartialsRaw(text, nothing{}, true)
	if err != nil {
		return nil, mistake(err)
	}
	if err := check(t.Tags(), nil); err != nil {
		return nil, err
	}
	return t, nil
}

// check looks at the tags inside of some sections.
func check(tags []mustache.Tag, within []string) error {
	for _, tag := range tags {
		name := tag.Name()
		switch {
		case tag.Type() == mustache.Partial:
			return fmt.Errorf("{{> %s}}: a template takes in no other one", name)
		case name == "." && len(within) > 0:
		case !known(name):
			return fmt.Errorf("there is no {{%s}}%s", name, sereno.DidYouMean(name, eachName))
		}
		if tag.Type() != mustache.Section && tag.Type() != mustache.InvertedSection {
			if isList(name) {
				return fmt.Errorf("{{%s}} is a list: write {{#%s}}…{{/%s}}", name, name, name)
			}
			continue
		}
		// A list in itself would be written as often as the square of its length.
		if isList(name) && tag.Type() == mustache.Section && slices.Contains(within, name) {
			return fmt.Errorf("{{#%s}} stands inside of itself", name)
		}
		if len(within) == maxDepth {
			return fmt.Errorf("{{#%s}}: sections are nested at most %d deep", name, maxDepth)
		}
		if err := check(tag.Tags(), append(slices.Clip(within), name)); err != nil {
			return err
		}
	}
	return nil
}

// mistake says what the parser found, in our words.
func mistake(err error) error {
	p, ok := errors.AsType[mustache.ParseError](err)
	if !ok {
		return err
	}
	switch p.Code {
	case mustache.ErrUnmatchedOpenTag:
		return fmt.Errorf("line %d: a {{ is not closed by }}", p.Line)
	case mustache.ErrEmptyTag:
		return fmt.Errorf("line %d: there is nothing between {{ and }}", p.Line)
	case mustache.ErrSectionNoClosingTag:
		return fmt.Errorf("line %d: {{#%s}} is not closed by {{/%s}}", p.Line, p.Reason, p.Reason)
	case mustache.ErrInterleavedClosingTag:
		return fmt.Errorf("line %d: {{/%s}} closes what is not open, or not the last that is", p.Line, p.Reason)
	case mustache.ErrUnmatchedCloseTag:
		return fmt.Errorf("line %d: a {{/…}} closes what is not open", p.Line)
	default:
		return err
	}
}
