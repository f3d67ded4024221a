package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sereno"
	"sereno/alert"
	"sereno/api"
	"sereno/notify"
	"sereno/store"
)

// compile joins what the file says with what was made. Of the latter, what has
// the name of something in the file is set aside, and what lenient allows to be
// wrong is as well. What else is wrong is returned.
func (b *rulebook) compile(file alert.Book, list []made, lenient func(int) bool) (draft, blames) {
	d := draft{file: file, made: slices.Clone(list)}
	for i := range d.made {
		m := &d.made[i]
		m.aside = m.unread
		kind := api.RuleKind(m.Kind)
		if slices.ContainsFunc(fileRules(file, kind), func(r api.Rule) bool { return r.Name() == m.Name }) {
			m.aside = fmt.Sprintf("the configuration file has a %s of this name", kind.Noun())
		}
	}
	for {
		book, from := join(file, d.made)
		again := reopening{spare: slices.Clone(b.opened)}
		plan, err := book.Compile(again.kinds(b.kinds), notify.Options{Agent: b.agent, Commands: true, Publish: b.publish, Log: b.log})
		var wrong blames
		for e := range mistakesIn(err) {
			i, field := from.whose(e.Field)
			wrong = append(wrong, blame{i, &sereno.Error{Kind: e.Kind, Field: field, Text: e.Text}, ""})
		}
		if len(wrong) == 0 {
			d.plan, d.opened = plan, again.opened
			return d, nil
		}
		found := false
		for i, w := range wrong {
			if w.made >= 0 {
				wrong[i].whom = fmt.Sprintf("the %s %q", api.RuleKind(d.made[w.made].Kind).Noun(), d.made[w.made].Name)
				if lenient(w.made) {
					d.made[w.made].aside, found = w.mistake.Error(), true
				}
			}
		}
		if !found {
			return d, wrong
		}
	}
}

// A blame is what is wrong with a book, and with which of the rules that were
// made.
type blame struct {
	made    int           // -1: with what the file says, or with all of it
	mistake *sereno.Error // with a place in the rule
	whom    string        // "the policy "night""
}

type blames []blame

// of says to the author of one rule what is wrong: with it, or with others if it
// were so.
func (list blames) of(at int) error {
	var errs []error
	for _, w := range list {
		if w.made == at && at >= 0 {
			errs = append(errs, w.mistake)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, w := range list {
		errs = append(errs, sereno.Errorf(sereno.Conflict, "%s: change that first", w.sentence()))
	}
	return errors.Join(errs...)
}

// byFile says what of the rules that were made does not go together with the
// file.
func (list blames) byFile() error {
	var errs []error
	for _, w := range list {
		if w.made < 0 {
			errs = append(errs, w.mistake)
			continue
		}
		errs = append(errs, sereno.Errorf(sereno.Conflict, "%s, which was made by command, does not go together with the file: %s", w.whom, w.mistake.Error()))
	}
	return errors.Join(errs...)
}

func (w blame) sentence() string {
	if w.whom == "" {
		return w.mistake.Error()
	}
	return w.whom + " would not go together with it: " + w.mistake.Error()
}

// places says which of the rules of a joined book was made by the API.
type places map[string][]int // by the name of the list: indexes of what was made, -1 for the file's

// whose finds the rule that a field of the book is in, -1 if it was not made by
// the API, and the place in the rule.
func (p places) whose(field string) (made int, inside string) {
	for _, list := range slices.Sorted(maps.Keys(p)) {
		var i int
		if _, err := fmt.Sscanf(field, list+"[%d]", &i); err == nil && i < len(p[list]) && p[list][i] >= 0 {
			_, inside, _ = strings.Cut(field, "]")
			return p[list][i], strings.TrimPrefix(inside, ".")
		}
	}
	return -1, field
}

// join makes one book: the file's first, then what was made and has an effect.
func join(file alert.Book, list []made) (alert.Book, places) {
	book := file
	book.Channels, book.Policies = slices.Clone(file.Channels), slices.Clone(file.Policies)
	book.Windows, book.Silences = slices.Clone(file.Windows), slices.Clone(file.Silences)
	ofFile := func(n int) []int { return slices.Repeat([]int{-1}, n) }
	from := places{
		"channels": ofFile(len(file.Channels)), "policies": ofFile(len(file.Policies)),
		"maintenance": ofFile(len(file.Windows)), "silences": ofFile(len(file.Silences)),
	}
	for i, m := range list {
		if m.aside != "" {
			continue
		}
		switch {
		case m.rule.Channel != nil:
			book.Channels, from["channels"] = append(book.Channels, *m.rule.Channel), append(from["channels"], i)
		case m.rule.Policy != nil:
			book.Policies, from["policies"] = append(book.Policies, *m.rule.Policy), append(from["policies"], i)
		case m.rule.Window != nil:
			book.Windows, from["maintenance"] = append(book.Windows, *m.rule.Window), append(from["maintenance"], i)
		case m.rule.Silence != nil:
			book.Silences, from["silences"] = append(book.Silences, *m.rule.Silence), append(from["silences"], i)
		}
	}
	return book, from
}

// mistakesIn yields the sereno.Errors in err's tree, each by itself. Any other
// error is one without a place.
func mistakesIn(err error) func(yield func(*sereno.Error) bool) {
	var walk func(err error, yield func(*sereno.Error) bool) bool
	walk = func(err error, yield func(*sereno.Error) bool) bool {
		if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // each error of the tree by itself
			for _, one := range many.Unwrap() {
				if !walk(one, yield) {
					return false
				}
			}
			return true
		}
		if e, ok := errors.AsType[*sereno.Error](err); ok {
			return yield(e)
		}
		return err == nil || yield(&sereno.Error{Text: err.Error()})
	}
	return func(yield func(*sereno.Error) bool) { walk(err, yield) }
}

// An openChannel is a channel in use, and what it was made of.
type openChannel struct {
	kind, settings string
	commands       bool // it may run programs
	channel        notify.Channel
}

// A reopening makes the channels of a book: one whose settings did not change is
// the one that is in use already, with whatever it has under way.
type reopening struct {
	spare  []openChannel // in use, and not taken over yet
	opened []openChannel
}

func (r *reopening) kinds(list []notify.Kind) []notify.Kind {
	kinds := make([]notify.Kind, len(list))
	for i, kind := range list {
		kinds[i] = keptKind{kind, r}
	}
	return kinds
}

// A keptKind takes over channels where it can.
type keptKind struct {
	notify.Kind
	in *reopening
}

func (k keptKind) Open(settings json.RawMessage, o notify.Options) (notify.Channel, error) {
	c := openChannel{kind: k.Name(), settings: string(settings), commands: o.Commands}
	if i := slices.IndexFunc(k.in.spare, func(was openChannel) bool {
		return was.kind == c.kind && was.settings == c.settings && was.commands == c.commands
	}); i >= 0 {
		c = k.in.spare[i]
		k.in.spare = slices.Delete(k.in.spare, i, i+1)
	} else {
		var err error
		if c.channel, err = k.Kind.Open(settings, o); err != nil {
			return nil, err
		}
	}
	k.in.opened = append(k.in.opened, c)
	return c.channel, nil
}

// secrets are the names of the settings of a kind that are never shown; ok is
// false for a kind that there is not.
func (b *rulebook) secrets(kind string) (names []string) {
	for _, k := range b.kinds {
		if k.Name() == kind {
			return k.Secrets()
		}
	}
	return nil
}

// divide parts settings into what may be shown and what may not.
func divide(settings json.RawMessage, secrets []string) (open, hidden json.RawMessage, names []string) {
	var all map[string]json.RawMessage
	if json.Unmarshal(settings, &all) != nil || len(all) == 0 {
		return nil, nil, nil
	}
	secret := map[string]json.RawMessage{}
	for _, name := range secrets {
		if v, ok := all[name]; ok {
			secret[name] = v
			names = append(names, name)
			delete(all, name)
		}
	}
	open, _ = json.Marshal(all) // what was JSON is JSON
	if len(secret) > 0 {
		hidden, _ = json.Marshal(secret)
	}
	return open, hidden, names
}

// aims are settings that say where a channel sends to.
var aims = []string{"base_url", "url", "host", "port", "tls", "ca"}

// settle makes the settings that hold of those that were and those that are
// wanted: a secret that is not mentioned stays, one that is null goes. A secret
// that stays is not sent elsewhere than before.
func settle(before, wanted json.RawMessage, secrets []string) (json.RawMessage, error) {
	var was, all map[string]json.RawMessage
	if len(wanted) > 0 && json.Unmarshal(wanted, &all) != nil {
		return nil, &sereno.Error{Kind: sereno.Invalid, Field: "settings", Text: "settings are an object"}
	}
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	if len(before) > 0 && json.Unmarshal(before, &was) != nil {
		was = nil
	}
	var kept []string
	for _, name := range secrets {
		if _, given := all[name]; !given && was[name] != nil {
			all[name] = was[name]
			kept = append(kept, name)
		}
	}
	maps.DeleteFunc(all, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	for _, aim := range aims {
		if len(kept) > 0 && was != nil && !bytes.Equal(compact(was[aim]), compact(all[aim])) {
			return nil, &sereno.Error{
				Kind: sereno.Invalid, Field: aim,
				Text: fmt.Sprintf("%s changes where this channel sends to: give %s again, or null to leave it out", aim, strings.Join(kept, ", ")),
			}
		}
	}
	text, err := json.Marshal(all) // in one order, so that what is the same is seen to be
	if err != nil {
		return nil, fmt.Errorf("settings of a channel: %w", err)
	}
	return text, nil
}

func compact(raw json.RawMessage) []byte {
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return raw
	}
	return out.Bytes()
}

// pack makes what the store keeps of a rule: its document, and its secrets,
// sealed.
func (b *rulebook) pack(r api.Rule) (doc json.RawMessage, sealed []byte, err error) {
	var document any
	switch {
	case r.Channel != nil:
		c := *r.Channel
		var hidden json.RawMessage
		if c.Settings, hidden, _ = divide(c.Settings, b.secrets(c.Kind)); hidden != nil {
			if sealed, err = b.key.Seal(about(c.Name), hidden); err != nil {
				return nil, nil, err
			}
		}
		document = api.NewChannel(c)
	case r.Policy != nil:
		document = api.NewPolicy(*r.Policy)
	case r.Window != nil:
		document = api.NewWindow(*r.Window)
	default:
		document = api.NewSilence(*r.Silence, 0)
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, nil, fmt.Errorf("write down a %s: %w", r.Kind().Noun(), err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, nil, fmt.Errorf("write down a %s: %w", r.Kind().Noun(), err)
	}
	for _, name := range []string{"position", "from_file", "aside", "health", "secrets", "now", "next", "state"} { // these follow from the rest
		delete(fields, name)
	}
	doc, err = json.Marshal(fields)
	return doc, sealed, err
}

// about says whose secrets are sealed.
func about(channel string) string { return "channel " + channel }

// read makes the rule of an entry of the store.
func (b *rulebook) read(e store.Entry) made {
	m := made{Entry: e}
	var err error
	switch api.RuleKind(e.Kind) {
	case api.RuleChannel:
		var doc api.Channel
		err = json.Unmarshal(e.Doc, &doc)
		m.rule = doc.Rule()
		m.rule.Channel.Name = e.Name
		if err == nil && len(e.Sealed) > 0 {
			var hidden json.RawMessage
			if hidden, err = b.key.Open(about(e.Name), e.Sealed); err == nil {
				m.rule.Channel.Settings, err = reunite(m.rule.Channel.Settings, hidden)
			} else {
				err = fmt.Errorf("its secrets cannot be read (%w): give them again", err)
			}
		}
	case api.RulePolicy:
		var doc api.AlertPolicy
		err = json.Unmarshal(e.Doc, &doc)
		m.rule = doc.Rule()
		m.rule.Policy.Name = e.Name
	case api.RuleMaintenance:
		var doc api.MaintenanceWindow
		err = json.Unmarshal(e.Doc, &doc)
		m.rule = doc.Rule()
		m.rule.Window.Name = e.Name
	default:
		var doc api.Silence
		err = json.Unmarshal(e.Doc, &doc)
		m.rule = doc.Rule()
		m.rule.Silence.Name = e.Name
	}
	if err != nil {
		m.unread = err.Error()
	}
	return m
}

// reunite joins settings with the secrets that belong to them.
func reunite(open, hidden json.RawMessage) (json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for _, part := range []json.RawMessage{open, hidden} {
		if len(part) > 0 {
			if err := json.Unmarshal(part, &all); err != nil {
				return nil, err
			}
		}
	}
	return json.Marshal(all)
}
