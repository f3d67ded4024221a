package message

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cbroglie/mustache"

	"sereno"
)

// A Template replaces the built-in texts of one event.
type Template struct {
	Title string // one line; "" for the built-in one
	Text  string // what follows the title; "" for the built-in one
}

// Texts write messages. They never change, and many goroutines may use them.
type Texts struct {
	written map[string]pair // by event
}

// A pair is the templates of one event.
type pair struct{ title, text *mustache.Template }

const (
	// MaxTemplate is how long a template may be, in bytes.
	MaxTemplate = 16_000
	// maxTitle and maxText bound what a template may give, in characters and bytes.
	maxTitle = 250
	maxText  = 32_000
	// maxDepth is how deep the sections of a template may be nested.
	maxDepth = 12
)

// builtin holds a file for each event: its first line is the title, the text
// follows after an empty line.
//
//go:embed builtin
var builtin embed.FS

// Events are the names of all events that have texts.
var Events = []string{"opened", "reminder", "acknowledged", "changed", "closed", "digest", "test"}

// Builtin returns the built-in templates of an event.
func Builtin(event string) Template {
	file, err := builtin.ReadFile("builtin/" + event + ".mustache")
	if err != nil {
		return Template{}
	}
	title, text, _ := strings.Cut(string(file), "\n\n")
	return Template{Title: title, Text: text}
}

// NewTexts makes texts of the built-in templates and of layers that replace
// some of them, by event: a later layer wins. The errors are sereno.Errors of
// kind Invalid, all of them joined, Field being such as "opened.title".
func NewTexts(layers ...map[string]Template) (*Texts, error) {
	t := &Texts{written: make(map[string]pair, len(Events))}
	var mistakes []error
	parse := func(field, text string) *mustache.Template {
		parsed, err := compile(text)
		if err != nil {
			mistakes = append(mistakes, &sereno.Error{Kind: sereno.Invalid, Field: field, Text: err.Error()})
		}
		return parsed
	}
	for _, event := range Events {
		b := Builtin(event)
		t.written[event] = pair{parse(event+".title", b.Title), parse(event+".text", b.Text)}
	}
	for _, layer := range layers {
		for _, event := range slices.Sorted(maps.Keys(layer)) {
			p, ok := t.written[event]
			if !ok {
				mistakes = append(mistakes, &sereno.Error{
					Kind: sereno.Invalid, Field: event,
					Text: fmt.Sprintf("there is no event %q, only %s%s", event, strings.Join(Events, ", "), sereno.DidYouMean(event, slices.Values(Events))),
				})
				continue
			}
			if over := layer[event]; over.Title != "" {
				p.title = parse(event+".title", over.Title)
			}
			if over := layer[event]; over.Text != "" {
				p.text = parse(event+".text", over.Text)
			}
			t.written[event] = p
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return t, nil
}

// usual are the built-in texts.
var usual = func() *Texts {
	t, err := NewTexts()
	if err != nil {
		panic(err)
	}
	return t
}()

// Write writes a message: a title of one line, and the whole text, whose first
// line the title is and whose lines all end with \n. A template that gives an
// empty title has the built-in one. Both are valid UTF-8 without control
// characters and without marks that turn the reading direction, whatever the
// facts hold.
func (t *Texts) Write(f Facts) (title, text string) {
	event := f.Event
	if _, ok := t.written[event]; !ok {
		event = "opened"
	}
	values := flatten(f)
	title = oneLine(render(t.written[event].title, values))
	if title == "" {
		title = oneLine(render(usual.written[event].title, values))
	}
	return title, title + "\n" + paragraphs(render(t.written[event].text, values))
}

// render fills a template in. What is longer than maxText is cut.
func render(t *mustache.Template, values map[string]any) string {
	b := limited{left: maxText}
	// The only error is that of limited, which has kept what fits.
	_ = t.FRender(&b, values)
	return b.String()
}

// limited takes a number of bytes, and refuses what comes after.
type limited struct {
	bytes.Buffer
	left int
}

var errFull = errors.New("the text is long enough")

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

var _ io.Writer = (*limited)(nil)

// oneLine makes one line of what a title's template gave.
func oneLine(s string) string {
	return cut(inert(strings.Join(strings.Fields(s), " ")), maxTitle)
}

// paragraphs tidies what a text's template gave: no spaces at the ends of
// lines, no empty lines at the begin and the end, nor two of them in a row.
func paragraphs(s string) string {
	var b strings.Builder
	empty := false
	for line := range strings.Lines(s) {
		line = strings.TrimRight(inert(strings.TrimRight(line, "\r\n")), " ")
		if line == "" {
			empty = b.Len() > 0
			continue
		}
		if empty {
			b.WriteByte('\n')
		}
		empty = false
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}
