package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/alert"
)

// A Rulebook is all that people have said about alerting, in the configuration
// file and here. What it changes holds from then on, in the store and in the
// running program. Mistakes of the caller are sereno.Errors: a name that is
// taken, or that others refer to, is a Conflict, an unknown one NotFound, what
// the configuration file manages Forbidden; the Field of an Invalid one is a
// place in the rule, such as "steps[1].channels[0]".
type Rulebook interface {
	// Rules returns those of a kind as they are, those of the file first.
	Rules(kind RuleKind) []Rule
	Plan() *alert.Plan // what holds
	Add(ctx context.Context, by Author, r Rule) (Rule, error)
	// Replace gives the rule of that kind and name all that r says; secrets that
	// r does not mention stay.
	Replace(ctx context.Context, by Author, name string, r Rule) (Rule, error)
	Remove(ctx context.Context, by Author, kind RuleKind, name string) error
}

// An Author is who changes something, as the audit trail has it.
type Author struct {
	Who string // until there are users, an address
	Via string // api
}

// Asker is the part of a request that says who asks. (It is exported because
// huma looks into embedded structs only then.)
type Asker struct{ author Author }

// Resolve takes the address of the client.
func (a *Asker) Resolve(ctx huma.Context) []error {
	a.author = Author{Who: ctx.RemoteAddr(), Via: "api"}
	if host, _, err := net.SplitHostPort(a.author.Who); err == nil {
		a.author.Who = host
	}
	return nil
}

// RuleName is the part of a path that names a rule.
type RuleName struct {
	Name string `path:"name" maxLength:"300" doc:"Its name"`
}

// A shelf is the operations on the rules of one kind, whose documents are D.
type shelf[D any] struct {
	*desk
	kind     RuleKind
	noun     string // in the names of operations: Channel
	path     string
	one      string // for a person: "a channel"
	document func(Rule) D
	rule     func(D) Rule
	complete func(context.Context, []D) // adds what is known at the moment; nil: nothing
}

func (d *desk) registerKinds() {
	register(d, huma.Operation{
		OperationID: "listKinds", Method: http.MethodGet, Path: "/api/kinds", Summary: "The kinds of checks and of channels that there are",
	}, d.listKinds)
}

func (d *desk) registerRules() {
	shelf[Channel]{
		d, RuleChannel, "Channel", "/api/channels", "a channel",
		d.channel, Channel.Rule, d.addHealth,
	}.register("Channels")
	shelf[AlertPolicy]{
		d, RulePolicy, "Policy", "/api/policies", "a policy",
		func(r Rule) AlertPolicy {
			doc := NewPolicy(*r.Policy)
			doc.Managed = managed(r)
			return doc
		}, AlertPolicy.Rule, nil,
	}.register("Policies")
	shelf[MaintenanceWindow]{
		d, RuleMaintenance, "Maintenance", "/api/maintenance", "a maintenance window",
		d.window, MaintenanceWindow.Rule, nil,
	}.register("Maintenance")
	shelf[Silence]{
		d, RuleSilence, "Silence", "/api/silences", "a silence",
		func(r Rule) Silence {
			doc := NewSilence(*r.Silence, d.Now())
			doc.Managed = managed(r)
			return doc
		}, d.silence, nil,
	}.register("Silences")
	if d.Senders != nil {
		d.registerExplain()
	}
}

func managed(r Rule) Managed { return Managed{r.Position, r.FromFile, r.Aside} }

func (d *desk) channel(r Rule) Channel {
	doc := NewChannel(*r.Channel)
	doc.Managed, doc.Secrets = managed(r), orEmpty(r.Secrets)
	return doc
}

// addHealth says of channels how it is with them.
func (d *desk) addHealth(ctx context.Context, documents []Channel) {
	all := d.channelHealth(ctx)
	for i := range documents {
		if documents[i].Aside == "" {
			documents[i].Health = all[documents[i].Name]
		}
	}
}

// window is the document of a window with its occurrences.
func (d *desk) window(r Rule) MaintenanceWindow {
	doc := NewWindow(*r.Window)
	doc.Managed = managed(r)
	calendar, err := r.Window.Compile()
	if err != nil {
		return doc // Aside says so
	}
	now := d.Now()
	if begin, end, in := calendar.At(now); in {
		doc.Now = &Occurrence{begin, end}
	}
	for at := now; len(doc.Next) < 3; {
		begin, end, ok := calendar.Next(at)
		if !ok {
			break
		}
		doc.Next = append(doc.Next, Occurrence{begin, end})
		at = begin
	}
	return doc
}

// silence is what the document says, with what it leaves out.
func (d *desk) silence(s Silence) Rule {
	r := s.Rule()
	if r.Silence.From.IsZero() {
		r.Silence.From = d.Now()
	}
	if s.For > 0 && s.Until.IsZero() {
		r.Silence.Until = r.Silence.From + sereno.Instant(s.For/1000)
	}
	return r
}

func (s shelf[D]) register(many string) {
	register(s.desk, huma.Operation{
		OperationID: "list" + many, Method: http.MethodGet, Path: s.path, Summary: "All of them, those of the configuration file first",
	}, s.list)
	register(s.desk, huma.Operation{
		OperationID: "get" + s.noun, Method: http.MethodGet, Path: s.path + "/{name}", Summary: "Read " + s.one,
	}, s.get)
	register(s.desk, huma.Operation{
		OperationID: "add" + s.noun, Method: http.MethodPost, Path: s.path, Summary: "Make " + s.one, DefaultStatus: http.StatusCreated, MaxBodyBytes: maxBody,
	}, s.add)
	register(s.desk, huma.Operation{
		OperationID: "replace" + s.noun, Method: http.MethodPut, Path: s.path + "/{name}", MaxBodyBytes: maxBody,
		Summary: "Change " + s.one + ": what is left out gets its default",
	}, s.replace)
	register(s.desk, huma.Operation{
		OperationID: "remove" + s.noun, Method: http.MethodDelete, Path: s.path + "/{name}", Summary: "Remove " + s.one,
	}, s.remove)
}

func (s shelf[D]) list(ctx context.Context, in *Paging) (*answer[Page[D]], error) {
	rules := s.Rulebook.Rules(s.kind)
	at := 0
	if in.Cursor != "" {
		var err error
		if at, err = strconv.Atoi(in.Cursor); err != nil || at < 0 {
			return nil, &sereno.Error{Kind: sereno.Invalid, Field: "cursor", Text: "this is no cursor of this list"}
		}
	}
	rules = rules[min(at, len(rules)):]
	cursor := ""
	if len(rules) > in.Limit {
		rules, cursor = rules[:in.Limit], strconv.Itoa(at+in.Limit)
	}
	list := page(rules, cursor, s.document)
	if s.complete != nil {
		s.complete(ctx, list.Body.Items)
	}
	return list, nil
}

// whole is the document of one rule.
func (s shelf[D]) whole(ctx context.Context, r Rule) D {
	documents := []D{s.document(r)}
	if s.complete != nil {
		s.complete(ctx, documents)
	}
	return documents[0]
}

func (s shelf[D]) get(ctx context.Context, in *RuleName) (*answer[D], error) {
	for _, r := range s.Rulebook.Rules(s.kind) {
		if r.Name() == in.Name {
			return &answer[D]{s.whole(ctx, r)}, nil
		}
	}
	return nil, sereno.Errorf(sereno.NotFound, "there is no %s called %.100q", s.kind.Noun(), in.Name)
}

func (s shelf[D]) add(ctx context.Context, in *struct {
	Asker
	Body D
},
) (*struct {
	Location string `header:"Location"`
	Body     D
}, error,
) {
	r, err := s.Rulebook.Add(ctx, in.author, s.rule(in.Body))
	if err != nil {
		return nil, fmt.Errorf("add %s: %w", s.one, s.located(err))
	}
	return &struct {
		Location string `header:"Location"`
		Body     D
	}{s.path + "/" + url.PathEscape(r.Name()), s.whole(ctx, r)}, nil
}

func (s shelf[D]) replace(ctx context.Context, in *struct {
	Asker
	RuleName
	Body D
},
) (*answer[D], error) {
	r, err := s.Rulebook.Replace(ctx, in.author, in.Name, s.rule(in.Body))
	if err != nil {
		return nil, fmt.Errorf("replace %s: %w", s.one, s.located(err))
	}
	return &answer[D]{s.whole(ctx, r)}, nil
}

func (s shelf[D]) remove(ctx context.Context, in *struct {
	Asker
	RuleName
},
) (*struct{}, error) {
	if err := s.Rulebook.Remove(ctx, in.author, s.kind, in.Name); err != nil {
		return nil, fmt.Errorf("remove %s: %w", s.one, err)
	}
	return nil, nil
}

// located names the places of mistakes in a rule as the body of the request has
// them.
func (s shelf[D]) located(err error) error {
	var found []error
	for e := range mistakes(err) {
		if e.Field != "" {
			e = &sereno.Error{Kind: e.Kind, Text: e.Text, Field: inRule(s.kind, e.Field)}
		}
		found = append(found, e)
	}
	if len(found) == 0 {
		return err
	}
	return errors.Join(found...)
}

// Kinds is the document of the kinds that there are.
type Kinds struct {
	Checks   []KindOfCheck   `json:"checks"`
	Channels []KindOfChannel `json:"channels"`
}

// A KindOfCheck is one way to look.
type KindOfCheck struct {
	Name string `json:"name"`
}

// A KindOfChannel is one way to reach people.
type KindOfChannel struct {
	Name    string   `json:"name"`
	Secrets []string `json:"secrets" doc:"Those of its settings that are never shown again"`
}

func (d *desk) listKinds(context.Context, *struct{}) (*answer[Kinds], error) {
	doc := Kinds{Checks: []KindOfCheck{}, Channels: []KindOfChannel{}}
	for _, k := range d.Kinds {
		doc.Checks = append(doc.Checks, KindOfCheck{k.Name()})
	}
	for _, k := range d.Channels {
		doc.Channels = append(doc.Channels, KindOfChannel{k.Name(), orEmpty(k.Secrets())})
	}
	return &answer[Kinds]{doc}, nil
}
