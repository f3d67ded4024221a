package email

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"sereno/notify/notifytest"
)

const (
	user     = "watch"
	password = "p4ss-word of mail"
)

// A far is a real SMTP server (emersion/go-smtp) behind a listener that can
// misbehave before it.
type far struct {
	t        *testing.T
	server   *smtp.Server
	listener net.Listener
	settings map[string]any
	ca       string
	flooded  atomic.Int64
	closing  chan struct{}
	refuse   map[string]*smtp.SMTPError // by recipient
	echo     string                     // part of what it says when it refuses
	offers   []string                   // ways to log in; nil for PLAIN
	used     string                     // the way that was taken

	mu     sync.Mutex
	manner notifytest.Manner
	taken  []notifytest.Sent
	to     [][]string // the recipients of each of taken
	conns  []net.Conn
}

// newFar starts one with a certificate of its own, which wants a login. mode is
// starttls, tls or none.
func newFar(t *testing.T, mode string) *far {
	t.Helper()
	cert, ca := certificate(t)
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	f := &far{t: t, ca: ca, closing: make(chan struct{}), refuse: map[string]*smtp.SMTPError{}}
	f.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &mailbox{far: f, conn: c, loggedIn: false}, nil
	}))
	f.server.Domain, f.server.ErrorLog = "mail.test", log.New(io.Discard, "", 0)
	f.server.MaxLineLength = 2000
	if mode == "starttls" {
		f.server.TLSConfig = config
	}
	f.server.AllowInsecureAuth = mode == "none"
	var err error
	if f.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	good := make(chan net.Conn)
	go f.accept(good)
	served := make(chan struct{})
	go func() {
		defer close(served)
		var l net.Listener = &handed{good, f.listener.Addr(), f.closing}
		if mode == "tls" {
			l = tls.NewListener(l, config)
		}
		f.server.Serve(l)
	}()
	t.Cleanup(func() {
		close(f.closing)
		f.listener.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		f.server.Close()
		<-served
	})
	_, port, _ := net.SplitHostPort(f.listener.Addr().String())
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	f.settings = map[string]any{
		"host": "127.0.0.1", "port": n, "tls": mode, "user": user, "password": password, "ca": ca,
		"from": "Sereno <sereno@example.com>", "to": []string{"Ops <ops@example.com>", "boss@example.com"}, "hello": "sereno.test",
	}
	return f
}

func (f *far) Settings() string {
	text, err := json.Marshal(f.settings)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

func (f *far) Behave(m notifytest.Manner) {
	if m == notifytest.Gone {
		f.listener.Close()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.manner = m
}

func (f *far) behaves() notifytest.Manner {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.manner
}

func (f *far) Taken() []notifytest.Sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.taken)
}

func (f *far) Flooded() int64 { return f.flooded.Load() }

// accept hands connections to the server, or treats them badly itself.
func (f *far) accept(good chan<- net.Conn) {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns = append(f.conns, conn)
		f.mu.Unlock()
		switch f.behaves() {
		case notifytest.Trickles:
			go func() {
				defer conn.Close()
				for _, err := conn.Write([]byte("220-")); err == nil; _, err = conn.Write([]byte("x")) {
					time.Sleep(20 * time.Millisecond)
				}
			}()
		case notifytest.Floods:
			go func() {
				defer conn.Close()
				junk := bytes.Repeat([]byte("220-welcome to the mail server of somebody\r\n"), 1000)
				for {
					n, err := conn.Write(junk)
					f.flooded.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
		case notifytest.Garbage:
			fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n<html>\x00\u202e</html>\r\n")
			conn.Close()
		default:
			select {
			case good <- conn:
			case <-f.closing:
				conn.Close()
			}
		}
	}
}

// handed is a listener for connections that were accepted elsewhere.
type handed struct {
	conns  <-chan net.Conn
	addr   net.Addr
	closed <-chan struct{}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}
func (h *handed) Close() error   { return nil }
func (h *handed) Addr() net.Addr { return h.addr }

// A mailbox is one session of the server.
type mailbox struct {
	far      *far
	conn     *smtp.Conn
	loggedIn bool
	from     string
	to       []string
}

func (m *mailbox) AuthMechanisms() []string {
	if m.far.offers != nil {
		return m.far.offers
	}
	return []string{sasl.Plain}
}

func (m *mailbox) Auth(mechanism string) (sasl.Server, error) {
	m.far.mu.Lock()
	m.far.used = mechanism
	m.far.mu.Unlock()
	check := func(u, p string) error {
		if u != user || p != password {
			return smtp.ErrAuthFailed
		}
		m.loggedIn = true
		return nil
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, u, p string) error { return check(u, p) }), nil
	case sasl.Login:
		return &loginServer{check: check}, nil
	case "CRAM-MD5":
		return &cramServer{pass: func() { m.loggedIn = true }}, nil
	case "SCRAM-SHA-256":
		return &scramServer{pass: func() { m.loggedIn = true }}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

// A loginServer asks for user and password one by one.
type loginServer struct {
	check func(user, password string) error
	step  int
	user  string
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

// A cramServer is the other side of RFC 2195.
type cramServer struct {
	pass func()
	sent bool
}

const challenge = "<1.2@mail.test>"

func (c *cramServer) Next(response []byte) ([]byte, bool, error) {
	if !c.sent {
		c.sent = true
		return []byte(challenge), false, nil
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(challenge))
	if string(response) != user+" "+hex.EncodeToString(mac.Sum(nil)) {
		return nil, false, smtp.ErrAuthFailed
	}
	c.pass()
	return nil, true, nil
}

// A scramServer is the other side of RFC 7677 (RFC 5802, section 3).
type scramServer struct {
	pass              func()
	step              int
	bare, first, salt string
	nonce             string
}

func (s *scramServer) Next(response []byte) ([]byte, bool, error) {
	s.step++
	switch {
	case response == nil:
		s.step = 0
		return []byte{}, false, nil
	case s.step == 1:
		s.bare = strings.TrimPrefix(string(response), "n,,")
		_, nonce, _ := strings.Cut(s.bare, ",r=")
		s.nonce, s.salt = nonce+"ours", "salt of the server"
		s.first = "r=" + s.nonce + ",s=" + base64.StdEncoding.EncodeToString([]byte(s.salt)) + ",i=4096"
		return []byte(s.first), false, nil
	case s.step == 2:
		plain, proof, _ := strings.Cut(string(response), ",p=")
		salted, err := pbkdf2.Key(sha256.New, password, []byte(s.salt), 4096, 32)
		if err != nil {
			return nil, false, err
		}
		mac := func(key []byte, text string) []byte {
			h := hmac.New(sha256.New, key)
			h.Write([]byte(text))
			return h.Sum(nil)
		}
		key := mac(salted, "Client Key")
		stored := sha256.Sum256(key)
		all := s.bare + "," + s.first + "," + plain
		for i, b := range mac(stored[:], all) {
			key[i] ^= b
		}
		if !strings.HasPrefix(s.bare, "n="+user+",") || plain != "c=biws,r="+s.nonce || proof != base64.StdEncoding.EncodeToString(key) {
			return nil, false, smtp.ErrAuthFailed
		}
		return []byte("v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), all))), false, nil
	}
	s.pass()
	return nil, true, nil
}

func (m *mailbox) Reset()        { m.from, m.to = "", nil }
func (m *mailbox) Logout() error { return nil }

func (m *mailbox) Mail(from string, _ *smtp.MailOptions) error {
	if !m.loggedIn {
		return smtp.ErrAuthRequired
	}
	m.from = from
	return nil
}

func (m *mailbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	m.far.mu.Lock()
	err, refused := m.far.refuse[to]
	m.far.mu.Unlock()
	if refused {
		return err
	}
	m.to = append(m.to, to)
	return nil
}

func (m *mailbox) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	switch m.far.behaves() {
	case notifytest.Hangs:
		_, err := m.conn.Conn().Read(make([]byte, 1)) // until the other side has had enough
		return err
	case notifytest.Resets:
		m.conn.Conn().Close()
		return errors.New("too late")
	case notifytest.Busy:
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "too many mails, come back later"}
	case notifytest.Fails:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "out of order \u202e"}
	case notifytest.Refuses:
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "no " + password + " " + m.far.echo + " " + strings.ReplaceAll(string(body), "\r\n", " ")}
	}
	m.far.mu.Lock()
	defer m.far.mu.Unlock()
	m.far.taken = append(m.far.taken, notifytest.Sent{Method: "MAIL", Path: m.from, Body: body})
	m.far.to = append(m.far.to, m.to)
	return nil
}

func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
