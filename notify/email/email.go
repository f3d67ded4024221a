// Package email reaches people by mail, through the SMTP server of their choice.
package email

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"sereno"
	"sereno/notify"
)

const (
	patience     = 30 * time.Second // for a whole mail, unless its context ends earlier
	quitPatience = time.Second      // for a goodbye, once the mail is taken
	maxSession   = 1 << 20          // bytes that a server may say about one mail
	maxTo        = 100
)

// Kind is the kind "email". It remembers for all its channels who got a mail that
// others are still to get, so that settings may be read again meanwhile.
type Kind struct{ progress notify.Progress }

// New makes the kind. A program has one.
func New() *Kind { return &Kind{} }

func (*Kind) Name() string      { return "email" }
func (*Kind) Secrets() []string { return []string{"password"} }

type settings struct {
	Host     string     `json:"host"`
	Port     int        `json:"port"` // 0: 587, or 465 with TLS, or 25 without
	TLS      string     `json:"tls"`  // starttls, the default; tls; none
	User     string     `json:"user"` // "": nobody logs in
	Password string     `json:"password"`
	Auth     string     `json:"auth"` // "" for the best that the server offers
	From     string     `json:"from"`
	To       recipients `json:"to"`
	Hello    string     `json:"hello"` // how the server is greeted; "" for the machine's name
	CA       string     `json:"ca"`    // certificate authorities as PEM
}

// recipients are one address or a list of them.
type recipients []string

func (r *recipients) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*r = recipients{one}
		return nil
	}
	var many []string
	if json.Unmarshal(text, &many) != nil {
		return sereno.Errorf(sereno.Invalid, "it is an address, or a list of them")
	}
	*r = many
	return nil
}

var mechanisms = []string{"scram-sha-256", "scram-sha-1", "cram-md5", "plain", "login"}

func (k *Kind) Open(raw json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s settings
	if err := notify.Decode(raw, &s); err != nil {
		return nil, err
	}
	var wrong []error
	add := func(setting, format string, args ...any) {
		wrong = append(wrong, notify.Wrong(setting, format, args...))
	}
	switch {
	case s.Host == "":
		add("host", "it is missing: the name of a mail server, such as smtp.example.com")
	case strings.ContainsFunc(s.Host, func(r rune) bool { return r <= ' ' || strings.ContainsRune("/@\\", r) || r == 0x7f }), strings.Contains(s.Host, ":") && net.ParseIP(s.Host) == nil:
		add("host", "it is the name or the address of a mail server alone; the port is a setting of its own")
	}
	switch s.TLS {
	case "", "starttls":
		s.TLS, s.Port = "starttls", orElse(s.Port, 587)
	case "tls":
		s.Port = orElse(s.Port, 465)
	case "none":
		s.Port = orElse(s.Port, 25)
	default:
		add("tls", "it is starttls, tls or none%s", sereno.DidYouMean(s.TLS, slices.Values([]string{"starttls", "tls", "none"})))
	}
	if s.Port < 0 || s.Port > 65535 {
		add("port", "a port is 1 to 65535")
	}
	s.Auth = strings.ToLower(s.Auth)
	switch {
	case s.Auth != "" && !slices.Contains(mechanisms, s.Auth):
		add("auth", "there is no way to log in of this name%s", orText(sereno.DidYouMean(s.Auth, slices.Values(mechanisms)), "; there are "+strings.Join(mechanisms, ", ")))
	case (s.Auth == "plain" || s.Auth == "login") && s.TLS == "none" && !local(s.Host):
		add("auth", "without TLS the password would go over the network for all to read; take tls: starttls, or auth: scram-sha-256")
	case s.User == "" && (s.Password != "" || s.Auth != ""):
		add("user", "it is missing; a password alone logs nobody in")
	case s.User != "" && s.Password == "":
		add("password", "it is missing")
	}
	c := &channel{settings: s, progress: &k.progress}
	if from, err := address(s.From); err != nil {
		add("from", "%s", err)
	} else {
		c.from = from
	}
	if len(s.To) == 0 {
		add("to", "it is missing: whom the mails are for")
	} else if len(s.To) > maxTo {
		add("to", "there are %d; a channel has at most %d", len(s.To), maxTo)
	}
	for i, text := range s.To {
		to, err := address(text)
		switch {
		case err != nil:
			add(fmt.Sprintf("to[%d]", i), "%s", err)
		case slices.ContainsFunc(c.to, func(a *mail.Address) bool { return strings.EqualFold(a.Address, to.Address) }):
			add(fmt.Sprintf("to[%d]", i), "it stands there twice")
		default:
			c.to = append(c.to, to)
		}
	}
	if s.Hello != "" && strings.ContainsFunc(s.Hello, func(r rune) bool { return r <= ' ' || r > '~' }) {
		add("hello", "it is the name of a machine, such as sereno.example.com")
	}
	roots, err := notify.Roots("ca", s.CA)
	if err != nil {
		wrong = append(wrong, err)
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	c.agent = o.Agent
	if c.log = o.Log; c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.tls = &tls.Config{ServerName: s.Host, RootCAs: roots, MinVersion: tls.VersionTLS12}
	c.secrets = []string{s.Password}
	if s.Password != "" {
		c.secrets = append(c.secrets, base64.StdEncoding.EncodeToString([]byte("\x00"+s.User+"\x00"+s.Password)))
	}
	return c, nil
}

func orElse(port, usual int) int {
	if port == 0 {
		return usual
	}
	return port
}

func orText(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// address reads "ops@example.com" or "Ops <ops@example.com>".
func address(text string) (*mail.Address, error) {
	if text == "" {
		return nil, errors.New("it is missing: a mail address such as ops@example.com")
	}
	a, err := mail.ParseAddress(text)
	if err != nil || notify.Line(text) != strings.TrimSpace(text) || strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("<>\"", r) }) {
		return nil, fmt.Errorf("%q is no mail address such as ops@example.com", notify.Cut(notify.Line(text), 100))
	}
	return a, nil
}

// local reports whether what is sent to a host stays on this machine.
func local(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

type channel struct {
	settings settings
	agent    string
	log      *slog.Logger
	from     *mail.Address
	to       []*mail.Address
	tls      *tls.Config
	secrets  []string
	progress *notify.Progress // the recipients that a message was taken for
}

// Send gives a mail to the server, for all recipients at once. If the server
// takes it for some and refuses the others for good, it is sent, and the log
// says who got none. If it puts some of them off, another try is for those
// alone.
func (c *channel) Send(ctx context.Context, m notify.Message) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	taken := c.progress.Taken(m.Key)
	var left []*mail.Address
	for _, to := range c.to {
		if !slices.Contains(taken, to.Address) {
			left = append(left, to)
		}
	}
	if len(left) == 0 { // whoever was put off is no longer meant
		c.progress.Done(m.Key)
		notify.Say(ctx, "everybody who is still to get it has it from an earlier try")
		return nil
	}
	text, err := c.write(m, time.Now())
	if err != nil {
		return notify.Refuse("the mail cannot be written: %s", c.clean(err))
	}
	s, err := c.dial(ctx)
	if err != nil {
		return c.failure(ctx, err, false)
	}
	defer s.close()
	return c.hand(ctx, s, m.Key, text, left, len(taken) > 0)
}

// A putOff is a recipient for whom the server did not take a mail.
type putOff struct {
	to  *mail.Address
	err error
}

// hand gives a mail to a server that has been greeted. some tells whether it was
// taken for others before.
func (c *channel) hand(ctx context.Context, s *session, key string, text []byte, to []*mail.Address, some bool) error {
	bare := func(a *mail.Address) string { return "<" + a.Address + ">" }
	if err := s.client.Mail(bare(c.from)); err != nil {
		return c.failure(ctx, fmt.Errorf("from %s: %w", c.from.Address, err), false)
	}
	var wanted []*mail.Address
	var later, never []putOff
	for _, a := range to {
		err := s.client.Rcpt(bare(a))
		switch {
		case err == nil:
			wanted = append(wanted, a)
		case code(err) == 0: // the connection is gone, and with it the others
			return c.failure(ctx, err, false)
		case code(err) >= 500:
			never = append(never, putOff{a, err})
		default:
			later = append(later, putOff{a, err})
		}
	}
	answer := ""
	if len(wanted) > 0 {
		w, err := s.client.Data()
		if err != nil {
			return c.failure(ctx, err, false)
		}
		if _, err := w.Write(text); err != nil {
			return c.failure(ctx, err, false)
		}
		if err := w.Close(); err != nil {
			return c.failure(ctx, err, true)
		}
		if said, ok := w.(*smtp.DataCloser); ok {
			answer = "250 " + said.ServerResponse()
		}
		s.leave()
	}
	for _, a := range wanted {
		c.progress.Take(key, a.Address)
	}
	switch {
	case len(later) > 0:
		return &notify.Failure{Text: c.clean(c.toldOf(later))}
	case len(wanted) == 0 && !some:
		c.progress.Done(key)
		return &notify.Failure{Class: notify.Refused, Text: c.clean(c.toldOf(never))}
	}
	c.progress.Done(key)
	if len(never) > 0 {
		text := c.clean(c.toldOf(never))
		c.log.Warn("email: the server takes no mail for some recipients; the others got it", "answer", text)
		answer = "not for all: " + text + "; for the others " + answer
	}
	notify.Say(ctx, c.veil(answer))
	return nil
}

// toldOf names recipients and what the server said of each.
func (c *channel) toldOf(all []putOff) error {
	var told []string
	for _, p := range all {
		told = append(told, p.to.Address+": "+said(p.err))
	}
	return errors.New(strings.Join(told, "; "))
}

// failure says what an error means. sent tells whether the server had all of the
// mail.
func (c *channel) failure(ctx context.Context, err error, sent bool) error {
	if f, ok := errors.AsType[*notify.Failure](err); ok {
		return f
	}
	f := &notify.Failure{Text: c.clean(err)}
	switch n := code(err); {
	case n >= 500:
		f.Class = notify.Refused
		if n == 535 || n == 534 || n == 530 {
			f.Text = notify.Cut(f.Text, notify.MaxAnswer-40) + "; are user and password right?"
		}
	case n != 0:
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		f.Text, f.Unsure = "no answer in time", sent
	case ctx.Err() != nil:
		f.Text, f.Unsure = "stopped before an answer came", sent
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.Text, f.Unsure = "the server closed the connection", sent
	default:
		f.Unsure = sent
	}
	return f
}

func (c *channel) veil(text string) string { return notify.Veil(text, c.secrets...) }

func (c *channel) clean(err error) string {
	return notify.Cut(notify.Line(c.veil(said(err))), notify.MaxAnswer)
}

// said is an error's text, the server's words in it as the server wrote them.
func said(err error) string {
	if e, ok := errors.AsType[*textproto.Error](err); ok {
		return strings.Replace(err.Error(), e.Error(), strconv.Itoa(e.Code)+" "+e.Msg, 1)
	}
	return notify.Reason(err)
}

// code is the SMTP code of an error, 0 if it has none.
func code(err error) int {
	if e, ok := errors.AsType[*textproto.Error](err); ok && e.Code >= 400 && e.Code <= 599 {
		return e.Code
	}
	return 0
}

// A session is a connection to a server that has been greeted, and logged in to
// if that is wanted. It ends with its context.
type session struct {
	conn   net.Conn
	client *smtp.Client
	stop   func() bool
}

func (s *session) close() {
	s.stop()
	s.conn.Close()
}

// leave says goodbye, as it should be, but does not wait long for the answer.
func (s *session) leave() {
	if s.conn.SetDeadline(time.Now().Add(quitPatience)) == nil {
		_ = s.client.Quit() // the mail is taken, whatever comes now
	}
}

func (c *channel) dial(ctx context.Context) (*session, error) {
	s := &session{stop: func() bool { return false }}
	secure := c.tls.Clone()
	policy := gomail.NoTLS // of STARTTLS
	if c.settings.TLS == "starttls" {
		policy = gomail.TLSMandatory
	}
	options := []gomail.Option{
		gomail.WithPort(c.settings.Port), gomail.WithTimeout(patience), gomail.WithTLSConfig(secure), gomail.WithTLSPolicy(policy),
		gomail.WithDialContextFunc(func(dialing context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(dialing, network, addr)
			if err != nil {
				return nil, err
			}
			s.conn = &bounded{Conn: conn, left: maxSession}
			// Once it is connected go-mail does not look at the context: only
			// closing the connection ends its waiting.
			s.stop = context.AfterFunc(ctx, func() { conn.Close() })
			if c.settings.TLS == "tls" {
				s.conn = tls.Client(s.conn, secure)
			}
			return s.conn, nil
		}),
	}
	if c.settings.User != "" {
		options = append(options, gomail.WithSMTPAuthCustom(&login{settings: c.settings}))
	}
	if c.settings.Hello != "" {
		options = append(options, gomail.WithHELO(c.settings.Hello))
	}
	client, err := gomail.NewClient(c.settings.Host, options...)
	if err != nil {
		return nil, err
	}
	if s.client, err = client.DialToSMTPClientWithContext(ctx); err != nil {
		if s.conn != nil {
			s.close()
		}
		return nil, err
	}
	return s, nil
}

// A bounded connection ends when the other side has said too much.
type bounded struct {
	net.Conn
	left int64 // one goroutine reads
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the server said more than a mail is worth")
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// A login chooses how to log in once the server has said what it offers: the
// best that does not show the password, and one that shows it only where nobody
// can listen.
type login struct {
	settings settings
	smtp.Auth
}

func (l *login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	s := l.settings
	private := server.TLS || local(s.Host)
	for _, name := range mechanisms {
		if s.Auth != "" && s.Auth != name || !slices.ContainsFunc(server.Auth, func(offered string) bool { return strings.EqualFold(offered, name) }) {
			continue
		}
		switch name {
		case "scram-sha-256":
			l.Auth = smtp.ScramSHA256Auth(s.User, s.Password)
		case "scram-sha-1":
			l.Auth = smtp.ScramSHA1Auth(s.User, s.Password)
		case "cram-md5":
			l.Auth = smtp.CRAMMD5Auth(s.User, s.Password)
		case "plain":
			if !private {
				continue
			}
			l.Auth = smtp.PlainAuth("", s.User, s.Password, s.Host, false)
		case "login":
			if !private {
				continue
			}
			l.Auth = smtp.LoginAuth(s.User, s.Password, s.Host, false)
		}
		return l.Auth.Start(server)
	}
	offers := strings.Join(server.Auth, ", ")
	if offers == "" {
		return "", nil, notify.Refuse("the server lets nobody log in here; leave out user and password, or take another port (%s is used)", strconv.Itoa(s.Port))
	}
	return "", nil, notify.Refuse("the server offers no way to log in that can be used: %s", notify.Cut(notify.Line(offers), 100))
}
