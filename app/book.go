package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"sereno"
	"sereno/alert"
	"sereno/api"
	"sereno/notify"
	"sereno/store"
)

// A rulebook keeps all that is said about alerting: by the configuration file,
// and by people through the API, which the store remembers. One change is made
// at a time: it is compiled, written down, and then it holds.
//
// Where both say something under one name, the file's holds. The other is set
// aside, which is shown, and holds again once the name is free. The file speaks
// of its own channels only, so that it can be proved by itself.
type rulebook struct {
	rulebookParts

	mu     sync.Mutex // held while something changes
	file   alert.Book
	made   []made // of all kinds, those of one kind in their order
	opened []openChannel
	warned []string

	holds atomic.Pointer[held] // for those who only read
}

// rulebookParts are what a rulebook works on.
type rulebookParts struct {
	store *store.Store
	key   *Key
	kinds []notify.Kind
	agent string
	// publish tells those who follow along, see notify.Options.
	publish func(name string, data []byte) bool
	now     func() sereno.Instant
	set     []func(context.Context, *alert.Plan) error // told of each new plan, in this order
	log     *slog.Logger
}

// A made is one rule that somebody made by the API.
type made struct {
	store.Entry
	rule   api.Rule // a channel has all its settings
	unread string   // why rule has only a name; ""
	aside  string   // why it has no effect; ""
}

// held is what holds at a time.
type held struct {
	plan  *alert.Plan
	rules map[api.RuleKind][]api.Rule
}

func newRulebook(parts rulebookParts) *rulebook { return &rulebook{rulebookParts: parts} }

// Load reads what was made by the API and joins it with what the file says, before
// anything runs. What does not go together with the file is set aside: a
// watchman who does not start tells nobody anything.
func (b *rulebook) Load(ctx context.Context, file alert.Book) (*alert.Plan, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	entries, err := b.store.Entries(ctx, "")
	if err != nil {
		return nil, err
	}
	var list []made
	for _, e := range entries {
		list = append(list, b.read(e))
	}
	d, wrong := b.compile(file, list, func(int) bool { return true })
	if len(wrong) > 0 {
		return nil, fmt.Errorf("alerting: %w", wrong.byFile())
	}
	b.adopt(d)
	return d.plan, nil
}

// Reload takes over what the file says now, after take has succeeded with all
// else that it says. If anything is wrong nothing changes.
func (b *rulebook) Reload(ctx context.Context, file alert.Book, take func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, wrong := b.compile(file, b.made, b.isAside)
	if len(wrong) > 0 {
		return wrong.byFile()
	}
	if err := take(); err != nil {
		return err
	}
	return b.enact(ctx, d)
}

// isAside reports whether what was made has no effect as it is.
func (b *rulebook) isAside(i int) bool { return b.made[i].aside != "" }

// Rules returns those of a kind as they are, those of the file first.
func (b *rulebook) Rules(kind api.RuleKind) []api.Rule { return b.holds.Load().rules[kind] }

// Plan is what holds.
func (b *rulebook) Plan() *alert.Plan { return b.holds.Load().plan }

// Add makes a rule.
func (b *rulebook) Add(ctx context.Context, by api.Author, r api.Rule) (api.Rule, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kind := string(r.Kind())
	if r.Silence != nil {
		r.Silence.By = by.Who
		if r.Silence.Name == "" {
			r.Silence.Name = b.unused(api.RuleSilence, "silence-")
		}
	}
	if r.Channel != nil {
		var err error
		if r.Channel.Settings, err = settle(nil, r.Channel.Settings, nil); err != nil {
			return r, err
		}
	}
	if err := b.free(r, 0); err != nil {
		return r, err
	}
	m := made{Entry: store.Entry{Kind: kind, Name: r.Name()}, rule: r}
	return b.put(ctx, by, b.made, m, nil)
}

// Replace changes a rule.
func (b *rulebook) Replace(ctx context.Context, by api.Author, name string, r api.Rule) (api.Rule, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, err := b.find(r.Kind(), name)
	if err != nil {
		return r, err
	}
	before := b.made[at]
	if err := b.free(r, before.ID); err != nil {
		return r, err
	}
	switch {
	case r.Silence != nil:
		if r.Silence.Name == "" {
			r.Silence.Name = name
		}
		if before.rule.Silence != nil {
			r.Silence.By = before.rule.Silence.By
		}
	case r.Channel != nil:
		old := before.rule.Channel
		if old == nil || old.Kind != r.Channel.Kind {
			old = &alert.Channel{}
		}
		if r.Channel.Settings, err = settle(old.Settings, r.Channel.Settings, b.secrets(r.Channel.Kind)); err != nil {
			return r, err
		}
	}
	if r.Position == 0 { // it stays where it is
		r.Position = b.rank(at)
	}
	m := made{Entry: before.Entry, rule: r}
	m.Name = r.Name()
	return b.put(ctx, by, slices.Delete(slices.Clone(b.made), at, at+1), m, &before)
}

// Remove deletes a rule.
func (b *rulebook) Remove(ctx context.Context, by api.Author, kind api.RuleKind, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, err := b.find(kind, name)
	if err != nil {
		return err
	}
	rest := slices.Delete(slices.Clone(b.made), at, at+1)
	d, wrong := b.compile(b.file, rest, func(i int) bool { return rest[i].aside != "" })
	if len(wrong) > 0 {
		return wrong.of(-1)
	}
	if err := b.store.DeleteEntry(ctx, string(kind), name, b.audit(by, &b.made[at], nil)); err != nil {
		return err
	}
	return b.enact(ctx, d)
}

// put lets a new or changed rule hold with the rest.
func (b *rulebook) put(ctx context.Context, by api.Author, rest []made, m made, before *made) (api.Rule, error) {
	list, at := b.insert(rest, m)
	d, wrong := b.compile(b.file, list, func(i int) bool { return i != at && list[i].aside != "" })
	if len(wrong) > 0 {
		return m.rule, wrong.of(at)
	}
	for _, i := range b.position(d.made, at) {
		if _, err := b.store.SaveEntry(ctx, d.made[i].Entry); err != nil {
			return m.rule, err
		}
	}
	var err error
	entry := &d.made[at].Entry
	if entry.Doc, entry.Sealed, err = b.pack(m.rule); err != nil {
		return m.rule, err
	}
	entry.Changed = b.now()
	audit := b.audit(by, before, &d.made[at])
	if *entry, err = b.store.SaveEntry(ctx, *entry, audit); err != nil {
		return m.rule, err
	}
	if err := b.enact(ctx, d); err != nil {
		return m.rule, err
	}
	for _, r := range b.Rules(m.rule.Kind()) {
		if !r.FromFile && r.Name() == entry.Name {
			return r, nil
		}
	}
	return m.rule, nil
}

// spacing is how far apart the positions of entries are at first, so that one
// between two others moves none of them.
const spacing = 1024

// insert puts a rule among those of its kind, at the place that its position
// says or at the end.
func (b *rulebook) insert(rest []made, m made) (list []made, at int) {
	rank := len(rest)
	if m.rule.Position > 0 {
		rank = max(0, m.rule.Position-1-len(fileRules(b.file, m.rule.Kind())))
	}
	at = len(rest)
	seen := 0
	for i, o := range rest {
		if o.Kind != m.Kind {
			continue
		}
		if seen == rank {
			at = i
			break
		}
		seen++
	}
	return slices.Insert(slices.Clone(rest), at, m), at
}

// rank is the position of what was made at an index, as it is shown.
func (b *rulebook) rank(at int) int {
	rank := 1 + len(fileRules(b.file, b.made[at].rule.Kind()))
	for _, m := range b.made[:at] {
		if m.Kind == b.made[at].Kind {
			rank++
		}
	}
	return rank
}

// position gives the rule at an index a position between its neighbours. Where
// there is no room all of the kind move up, the last first: their order is the
// same at each moment. Those are returned.
func (b *rulebook) position(list []made, at int) (moved []int) {
	var kin []int
	for i, m := range list {
		if m.Kind == list[at].Kind {
			kin = append(kin, i)
		}
	}
	k := slices.Index(kin, at)
	before := 0
	if k > 0 {
		before = list[kin[k-1]].Position
	}
	if k == len(kin)-1 {
		list[at].Position = before + spacing
		return nil
	}
	if after := list[kin[k+1]].Position; after-before >= 2 {
		list[at].Position = before + (after-before)/2
		return nil
	}
	most := 0
	for _, i := range kin {
		most = max(most, list[i].Position)
	}
	for n, i := range slices.Backward(kin) {
		if list[i].Position = most + (n+1)*spacing; i != at {
			moved = append(moved, i)
		}
	}
	return moved
}

// find returns which of what was made has a name.
func (b *rulebook) find(kind api.RuleKind, name string) (int, error) {
	if i := slices.IndexFunc(b.made, func(m made) bool { return m.Kind == string(kind) && m.Name == name }); i >= 0 {
		return i, nil
	}
	if slices.ContainsFunc(fileRules(b.file, kind), func(r api.Rule) bool { return r.Name() == name }) {
		return 0, sereno.Errorf(sereno.Forbidden, "%s is managed by the configuration file: change it there", name)
	}
	return 0, sereno.Errorf(sereno.NotFound, "there is no %s called %.100q", kind.Noun(), name)
}

// free refuses a name that is taken by another than the entry with an id.
func (b *rulebook) free(r api.Rule, id int64) error {
	taken := func(whose string) error {
		return &sereno.Error{Kind: sereno.Conflict, Field: "name", Text: fmt.Sprintf("%s a %s called %.100q already: choose another name", whose, r.Kind().Noun(), r.Name())}
	}
	if slices.ContainsFunc(fileRules(b.file, r.Kind()), func(o api.Rule) bool { return o.Name() == r.Name() }) {
		return taken("the configuration file has")
	}
	if slices.ContainsFunc(b.made, func(m made) bool { return m.Kind == string(r.Kind()) && m.Name == r.Name() && m.ID != id }) {
		return taken("there is")
	}
	return nil
}

// unused is a name that nothing of the kind has.
func (b *rulebook) unused(kind api.RuleKind, prefix string) string {
	for i := 1; ; i++ {
		name := prefix + strconv.Itoa(i)
		if !slices.ContainsFunc(b.Rules(kind), func(r api.Rule) bool { return r.Name() == name }) {
			return name
		}
	}
}

// audit is the entry of the trail for a change from one to the other; either
// may be nil.
func (b *rulebook) audit(by api.Author, before, after *made) sereno.Audit {
	a := sereno.Audit{At: b.now(), Who: by.Who, Via: by.Via, Action: "replace"}
	detail := map[string]json.RawMessage{}
	if before != nil {
		a.Action, a.Target, a.Of, detail["before"] = "delete", before.Kind, before.Name, before.Doc
	}
	if after != nil {
		a.Action, a.Target, a.Of, detail["after"] = "create", after.Kind, after.Name, after.Doc
	}
	if before != nil && after != nil {
		a.Action = "replace"
	}
	if names := b.otherSecrets(before, after); len(names) > 0 {
		detail["secrets_changed"], _ = json.Marshal(names) // names always can
	}
	text, err := json.Marshal(detail)
	if err != nil { // a document that cannot be read
		return a
	}
	a.Detail = string(text)
	return a
}

// otherSecrets names the secrets that differ between two versions of a channel.
func (b *rulebook) otherSecrets(before, after *made) (names []string) {
	if before == nil || after == nil || before.rule.Channel == nil || after.rule.Channel == nil {
		return nil
	}
	var was, is map[string]json.RawMessage
	if len(before.rule.Channel.Settings) > 0 && json.Unmarshal(before.rule.Channel.Settings, &was) != nil || json.Unmarshal(after.rule.Channel.Settings, &is) != nil {
		return nil
	}
	for _, name := range b.secrets(after.rule.Channel.Kind) {
		if !bytes.Equal(was[name], is[name]) {
			names = append(names, name)
		}
	}
	return names
}

// A draft is a book that could hold.
type draft struct {
	file   alert.Book
	made   []made
	plan   *alert.Plan
	opened []openChannel
}

// enact lets a draft hold.
func (b *rulebook) enact(ctx context.Context, d draft) error {
	ctx = context.WithoutCancel(ctx) // the store has it: the rest must follow
	b.adopt(d)
	for _, set := range b.set {
		if err := set(ctx, d.plan); err != nil {
			return err
		}
	}
	return nil
}

func (b *rulebook) adopt(d draft) {
	for _, m := range d.made {
		if m.aside != "" && !slices.ContainsFunc(b.made, func(o made) bool { return o.ID == m.ID && o.aside == m.aside }) {
			b.log.Error("something that was said by command has no effect", "kind", m.Kind, "name", m.Name, "because", m.aside)
		}
	}
	for _, warning := range d.plan.Warnings {
		if !slices.Contains(b.warned, warning) {
			b.log.Warn("alerting: " + warning)
		}
	}
	b.file, b.made, b.opened, b.warned = d.file, d.made, d.opened, d.plan.Warnings
	rules := map[api.RuleKind][]api.Rule{}
	for _, kind := range []api.RuleKind{api.RuleChannel, api.RulePolicy, api.RuleMaintenance, api.RuleSilence} {
		rules[kind] = fileRules(d.file, kind)
		for _, m := range d.made {
			if m.Kind == string(kind) {
				r := m.rule
				r.Aside = m.aside
				rules[kind] = append(rules[kind], r)
			}
		}
		for i := range rules[kind] {
			r := &rules[kind][i]
			r.Position = i + 1
			if r.Channel != nil {
				c := *r.Channel
				c.Settings, _, r.Secrets = divide(c.Settings, append(slices.Clone(b.secrets(c.Kind)), c.Hidden...))
				r.Channel = &c
			}
		}
	}
	b.holds.Store(&held{d.plan, rules})
}

// fileRules are the rules of one kind that the file has.
func fileRules(file alert.Book, kind api.RuleKind) (rules []api.Rule) {
	switch kind {
	case api.RuleChannel:
		for i := range file.Channels {
			rules = append(rules, api.Rule{FromFile: true, Channel: &file.Channels[i]})
		}
	case api.RulePolicy:
		for i := range file.Policies {
			rules = append(rules, api.Rule{FromFile: true, Policy: &file.Policies[i]})
		}
	case api.RuleMaintenance:
		for i := range file.Windows {
			rules = append(rules, api.Rule{FromFile: true, Window: &file.Windows[i]})
		}
	case api.RuleSilence:
		for i := range file.Silences {
			rules = append(rules, api.Rule{FromFile: true, Silence: &file.Silences[i]})
		}
	}
	return rules
}
