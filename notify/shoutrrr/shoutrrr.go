// Package shoutrrr tells the many services that have no kind of their own, by
// the library of that name (https://shoutrrr.nickfedor.com): Gotify, Matrix,
// Mattermost, Pushover, Rocket.Chat, Signal, Zulip and others.
//
// The library knows no contexts, prints URLs with their secrets into its errors,
// and says what went wrong in words alone. So each message is sent by a goroutine
// that is left behind at the deadline (and ends by itself soon after), every
// secret is taken out of what it says, and whether trying again makes sense is
// read from its words. A far end that asks to come back later is not understood.
package shoutrrr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/matrix"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"sereno"
	"sereno/notify"
)

// Kind is the kind "shoutrrr".
type Kind struct{}

func (Kind) Name() string { return "shoutrrr" }

// Secrets has the URL, which is all there is.
func (Kind) Secrets() []string { return []string{"url"} }

type settings struct {
	URL string `json:"url"`
}

const (
	// patience is how long a message may take if nobody says less.
	patience = 20 * time.Second
	// leftBehind is how long a request may go on after nobody waits for it.
	leftBehind = 15 * time.Second
	// maxText is how much of a text is given to a service, in characters; what is
	// too long for it, it divides or cuts itself.
	maxText = 4000
	// maxBody is how much of an answer is read, in bytes.
	maxBody = 1 << 20
)

func (Kind) Open(raw json.RawMessage, _ notify.Options) (notify.Channel, error) {
	var s settings
	if err := notify.Decode(raw, &s); err != nil {
		return nil, err
	}
	if s.URL == "" {
		return nil, notify.Wrong("url", "it is missing: such as gotify://host/token, see docs/channels/shoutrrr.md")
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme == "" {
		return nil, notify.Wrong("url", "it is not a URL such as gotify://host/token")
	}
	c := &channel{url: u, scheme: schemeOf(u), secrets: secretsOf(s.URL, u)}
	if !slices.Contains(schemes(), c.scheme) {
		guess := sereno.DidYouMean(c.scheme, slices.Values(schemes()))
		if guess == "" {
			guess = "; there are " + strings.Join(schemes(), ", ")
		}
		return nil, notify.Wrong("url", "there is no service %q%s", notify.Cut(notify.Line(c.scheme), 40), guess)
	}
	tame()
	if c.scheme == matrix.Scheme { // opening it would log in
		err = new(matrix.Config).SetURL(u)
	} else {
		_, err = c.open()
	}
	if err != nil {
		return nil, notify.Wrong("url", "%s does not take it: %s", c.scheme, c.clean(err.Error()))
	}
	return c, nil
}

// schemes are the services there are, without the one that only writes to a log.
func schemes() []string {
	all := new(router.ServiceRouter).ListServices()
	slices.Sort(all)
	return slices.DeleteFunc(all, func(s string) bool { return s == "logger" })
}

// schemeOf is the service that a URL names: gotify://…, generic+https://….
func schemeOf(u *url.URL) string {
	scheme, _, _ := strings.Cut(strings.ToLower(u.Scheme), "+")
	return scheme
}

// secretsOf are the parts of a URL that may be secret, however a service puts
// them together again: names and passwords, parts of the path, long values, and
// hosts that are none.
func secretsOf(whole string, u *url.URL) []string {
	secrets := map[string]bool{whole: true, u.String(): true}
	add := func(s string, least int) {
		if len(s) >= least {
			secrets[s] = true
		}
		for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune("-:/,@", r) }) {
			if len(part) >= max(least, 8) {
				secrets[part] = true
			}
		}
	}
	add(u.User.Username(), 4)
	if password, ok := u.User.Password(); ok {
		add(password, 1)
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		add(part, 6)
	}
	for name, values := range u.Query() {
		least := 8
		if strings.ContainsAny(name, "@$") { // headers and fields of generic
			least = 4
		}
		for _, value := range values {
			add(value, least)
		}
	}
	if host := u.Hostname(); !strings.Contains(host, ".") && !strings.Contains(host, ":") {
		add(host, 8)
	}
	return slices.Collect(maps.Keys(secrets))
}

type channel struct {
	url     *url.URL
	scheme  string
	secrets []string
}

// open makes the service of the URL anew: one that sends changes itself.
func (c *channel) open() (types.Service, error) {
	service, err := new(router.ServiceRouter).NewService(c.scheme)
	if err != nil {
		return nil, err
	}
	u := *c.url
	if strings.Contains(u.Scheme, "+") {
		custom, ok := service.(types.CustomURLService)
		if !ok {
			return nil, errors.New("it cannot be written with a + after the service")
		}
		changed, err := custom.GetConfigURLFromCustom(&u)
		if err != nil {
			return nil, err
		}
		u = *changed
	}
	return service, service.Initialize(&u, silent)
}

// silent takes what services log: it has their secrets in it.
var silent = log.New(io.Discard, "", 0)

// Send gives the message to the service and waits for it until ctx ends.
func (c *channel) Send(ctx context.Context, m notify.Message) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if ctx.Err() != nil {
		return &notify.Failure{Text: "stopped before it was sent"}
	}
	text, params := c.write(m)
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("the library has failed: %v", p)
			}
		}()
		service, err := c.open()
		if err == nil {
			err = service.Send(text, &params)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			notify.Say(ctx, "taken by "+c.scheme)
			return nil
		}
		return c.judge(err.Error())
	case <-ctx.Done():
		return &notify.Failure{Unsure: true, Text: c.scheme + ": no answer in time"}
	}
}

// write makes the text and what else a service is told. All of them get the
// whole text but those that show a title apart.
func (c *channel) write(m notify.Message) (text string, params types.Params) {
	title, rest := m.Parts()
	params = types.Params{}
	whole := title
	if rest != "" {
		whole += "\n" + rest
	}
	switch c.scheme {
	case "bark", "gotify", "join", "ntfy", "opsgenie", "pushbullet", "pushover":
		if rest != "" {
			params.SetTitle(notify.Cut(title, 120))
			if notify.Cut(title, 120) == title {
				whole = rest
			}
		}
	case "smtp":
		params["subject"] = notify.Cut(title, 200)
	}
	for _, l := range []string{m.Open, m.Acknowledge} {
		if l != "" && !strings.Contains(whole, l) {
			whole += "\n" + notify.Line(l)
		}
	}
	return notify.Split(whole, maxText, 1, notify.Runes)[0], params
}

// status finds the answer's status in what a service says went wrong. Ports and
// addresses are none.
var status = regexp.MustCompile(`(?:^|[^\d.:\-/])([1-5]\d\d)(?:$|[^\d.:\-/]|[:.](?:\s|$))`)

// sure are words of failures that come before anything was sent.
var sure = regexp.MustCompile(`connection refused|no such host|dial tcp|no route to host|network is unreachable|certificate|redirects are not followed`)

// judge makes a Failure of a service's words.
func (c *channel) judge(words string) error {
	f := &notify.Failure{Text: c.clean(c.scheme + ": " + words)}
	bare := notify.Veil(words, c.secrets...)
	if found := status.FindStringSubmatch(bare); found != nil {
		switch found[1] {
		case "400", "401", "403", "404", "405", "410", "413", "415", "422":
			f.Class = notify.Refused
		}
		return f
	}
	f.Unsure = !sure.MatchString(bare)
	return f
}

func (c *channel) clean(text string) string {
	return notify.Cut(notify.Line(notify.Veil(text, c.secrets...)), notify.MaxAnswer)
}

// tame bounds what the library's services do through http.DefaultClient, for
// they neither end a request nor an answer. It is the process's own, but nothing
// else in Sereno uses it.
var tame = sync.OnceFunc(func() {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // it is one
	transport.DisableKeepAlives = true
	transport.Proxy = notify.Proxy
	http.DefaultClient.Transport = bounded{transport}
	http.DefaultClient.Timeout = leftBehind
	http.DefaultClient.CheckRedirect = func(*http.Request, []*http.Request) error {
		return errors.New("redirects are not followed")
	}
})

// bounded reads no more of an answer than is good.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxBody), answer.Body}
	}
	return answer, err
}
