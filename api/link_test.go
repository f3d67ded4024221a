package api

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/notify"
)

// follow opens a link, or presses its button where form is not empty.
func (o *office) follow(method, path, form string) *httptest.ResponseRecorder {
	r := request(method, path, form)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return serve(o, r)
}

// said is the text of a page.
func said(answer *httptest.ResponseRecorder) string {
	_, main, _ := strings.Cut(answer.Body.String(), "<main>")
	main = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(main, " ")
	return html.UnescapeString(strings.Join(strings.Fields(main), " "))
}

func (o *office) link(t *testing.T, l Link) string {
	t.Helper()
	path, err := l.Path(o.signer)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestALinkAcknowledgesOnce(t *testing.T) {
	o := newOffice(t)
	o.down(1)
	o.turn(time.Second)
	path := o.link(t, NewLink(1, 1, o.now))
	if later := o.link(t, NewLink(1, 1, o.now.Add(time.Hour))); later != path {
		t.Error("a message that is sent again has another link")
	}

	for _, method := range []string{"GET", "HEAD", "GET"} {
		answer := o.follow(method, path, "")
		if answer.Code != 200 || method == "HEAD" && answer.Body.Len() != 0 {
			t.Errorf("%s: %d, %d bytes", method, answer.Code, answer.Body.Len())
		}
		if want := "core-sw1 at plant1 is down. Since Sat 21 Nov 2026 13:00:00 CET. Reason: no reply in 1s Your name Note Acknowledge"; method == "GET" && !strings.HasPrefix(said(answer), want) {
			t.Errorf("the page says %q, want %q", said(answer), want)
		}
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		if answer := o.follow(method, path, ""); answer.Code != 405 && answer.Code != 415 {
			t.Errorf("%s: %d", method, answer.Code)
		}
	}
	if len(o.wishes) != 0 {
		t.Fatalf("looking has acted: %+v", o.wishes)
	}

	answer := o.follow("POST", path, "who=anna&note=%20on+my+way")
	if want := "Acknowledged. core-sw1 at plant1 is down."; answer.Code != 200 || !strings.HasPrefix(said(answer), want) {
		t.Fatalf("%d: %q, want %q", answer.Code, said(answer), want)
	}
	if w := o.wishes; len(w) != 1 || w[0].Action != "acknowledge" || w[0].Incident != 1 || w[0].Who != "anna" || w[0].Via != "link" || w[0].Text != "on my way" {
		t.Fatalf("carried out: %+v", w)
	}
	o.now = o.now.Add(time.Minute)
	want := "This link was used already. It was used on Sat 21 Nov 2026 13:00:01 CET, and works once. anna acknowledged it on Sat 21 Nov 2026 13:00:01 CET: “on my way” core-sw1 at plant1 is down."
	for _, method := range []string{"GET", "POST"} {
		if answer := o.follow(method, path, ""); answer.Code != 410 || said(answer) != want {
			t.Errorf("%s again: %d %q, want %q", method, answer.Code, said(answer), want)
		}
	}
	// That of another message finds it done.
	answer = o.follow("POST", o.link(t, NewLink(1, 2, o.now)), "who=ben")
	if want := "Somebody takes care already. anna acknowledged it on"; answer.Code != 200 || !strings.HasPrefix(said(answer), want) {
		t.Errorf("another link: %d %q, want %q", answer.Code, said(answer), want)
	}
	// And when that was taken back, the used one says who had it, and acts no more.
	o.do(200, "POST", "/api/incidents/1/unacknowledge", "{}", nil)
	if answer := o.follow("POST", path, ""); answer.Code != 410 || said(answer) != want {
		t.Errorf("after it was taken back: %d %q", answer.Code, said(answer))
	}
	if len(o.wishes) != 2 {
		t.Errorf("carried out: %+v", o.wishes)
	}
}

func TestALinkOfAMessageOfManyAcknowledgesAllThatIsOpen(t *testing.T) {
	o := newOffice(t)
	for i := range 37 {
		o.do(201, "POST", "/api/devices", fmt.Sprintf(`{"name":"ap-%02d","address":"10.0.1.%d","tags":["site:plant2"]}`, i+1, i+1), nil)
	}
	var ids []sereno.DeviceID
	for i := range 37 {
		ids = append(ids, sereno.DeviceID(5+i))
	}
	o.down(ids...)
	o.turn(3 * time.Second)
	var list Page[Alert]
	o.do(200, "GET", "/api/alerts", "", &list)
	if len(list.Items) != 1 || list.Items[0].Count != 37 {
		t.Fatalf("promised: %+v", list.Items)
	}
	link := NewLink(0, list.Items[0].ID, o.now)
	path := o.link(t, link)
	page := said(o.follow("GET", path, ""))
	if want := "37 devices are down at plant2. Since Sat 21 Nov 2026 13:00:00 CET. ap-01 at plant2 is down ap-02 at plant2 is down"; !strings.HasPrefix(page, want) {
		t.Errorf("the page says %q, want %q", page, want)
	}
	for _, want := range []string{"ap-20 at plant2 is down … and 17 more Your name", "Acknowledge all of it"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page says %q, and not %q", page, want)
		}
	}
	if strings.Contains(page, "ap-21") || len(o.wishes) != 0 {
		t.Errorf("%q; carried out: %+v", page, o.wishes)
	}

	o.close(5, 6)
	o.turn(3 * time.Second)
	o.do(200, "POST", "/api/incidents/7/acknowledge", `{"by":"ben"}`, nil)
	page = said(o.follow("GET", path, ""))
	if want := "35 devices are down at plant2. Since Sat 21 Nov 2026 13:00:00 CET. Of what the message told, 2 are over. Somebody takes care of 1 of them already. ap-03 at"; !strings.HasPrefix(page, want) {
		t.Errorf("the page says %q, want %q", page, want)
	}
	o.fail = sereno.Errorf(sereno.Unavailable, "not yet")
	if answer := o.follow("POST", path, "who=anna"); answer.Code != 503 {
		t.Errorf("while it cannot act: %d %q", answer.Code, said(answer))
	}
	o.fail = nil
	before := len(o.wishes)
	answer := o.follow("POST", path, "who=anna&note=power+cut")
	if want := "Acknowledged. 35 devices are down at plant2."; answer.Code != 200 || !strings.HasPrefix(said(answer), want) || !strings.HasSuffix(said(answer), "Of these 35, 1 needed it no more.") {
		t.Errorf("%d %q, want %q", answer.Code, said(answer), want)
	}
	if n := len(o.wishes) - before; n != 34 {
		t.Errorf("%d were acknowledged", n)
	}
	var trail Page[AuditEntry]
	o.do(200, "GET", "/api/audit?who=anna&limit=100", "", &trail)
	if len(trail.Items) != 34 || trail.Items[0].Via != "link" || trail.Items[0].Text != "power cut" {
		t.Errorf("the audit trail has %d entries of anna: %+v", len(trail.Items), trail.Items)
	}
	o.turn(time.Second)
	o.do(200, "GET", "/api/alerts", "", &list)
	told := 0
	for _, d := range list.Items {
		if d.Event == notify.Acknowledged && d.Count == 34 && d.By == "anna" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("that anna takes care is told in %d messages: %+v", told, list.Items)
	}

	for _, method := range []string{"GET", "POST"} {
		answer := o.follow(method, path, "")
		if got := said(answer); answer.Code != 410 || !strings.HasPrefix(got, "This link was used already. It was used on") || !strings.Contains(got, "anna acknowledged 34 of them on") || !strings.HasSuffix(got, "35 devices are down at plant2.") {
			t.Errorf("%s again: %d %q", method, answer.Code, got)
		}
	}
	again := o.link(t, NewLink(0, link.Delivery, o.now.Add(48*time.Hour)))
	if answer := o.follow("POST", again, ""); answer.Code != 200 || !strings.HasPrefix(said(answer), "Somebody takes care already. ben (192.0.2.1) acknowledged 1 of them on") {
		t.Errorf("a second link: %d %q", answer.Code, said(answer))
	}
	if answer := o.follow("POST", o.link(t, Link{0, link.Delivery, o.now}), ""); answer.Code != 410 || !strings.Contains(said(answer), fmt.Sprintf("“sereno alerts %d” lists them", link.Delivery)) {
		t.Errorf("expired: %d %q", answer.Code, said(answer))
	}
	if answer := o.follow("POST", o.link(t, NewLink(0, 7777, o.now)), ""); answer.Code != 410 || said(answer) != "What this link was about has been deleted since." {
		t.Errorf("of no message: %d %q", answer.Code, said(answer))
	}
	for _, id := range ids[2:] {
		o.close(sereno.IncidentID(id))
	}
	o.turn(time.Second)
	want := "There is nothing to acknowledge any more. 37 devices were down at plant2 from Sat 21 Nov 2026 13:00:00 CET to"
	if answer := o.follow("POST", again, ""); answer.Code != 200 || !strings.HasPrefix(said(answer), want) {
		t.Errorf("over: %d %q", answer.Code, said(answer))
	}
	if n := len(o.wishes) - before; n != 34 {
		t.Errorf("in the end %d were acknowledged", n)
	}
}

func TestManyPressOneButton(t *testing.T) {
	o := newOffice(t)
	o.down(1)
	o.turn(time.Second)
	path := o.link(t, NewLink(1, 1, o.now))
	var all sync.WaitGroup
	codes := make([]int, 20)
	for i := range codes {
		all.Go(func() { codes[i] = o.follow("POST", path, "who=anna").Code })
	}
	all.Wait()
	done := 0
	for _, code := range codes {
		if code == 200 {
			done++
		} else if code != 410 {
			t.Errorf("got %d", code)
		}
	}
	if done != 1 || len(o.wishes) != 1 {
		t.Errorf("%d were told that they had done it, and it was done %d times", done, len(o.wishes))
	}
}

func TestLinksThatDoNothing(t *testing.T) {
	o := newOffice(t)
	o.down(1, 2)
	o.turn(time.Second)
	path := o.link(t, NewLink(1, 1, o.now))
	other, err := NewLink(1, 1, o.now).Path(keyed("another key"))
	if err != nil {
		t.Fatal(err)
	}
	gone := o.link(t, NewLink(77, 1, o.now))
	over := o.link(t, NewLink(2, 1, o.now))
	o.close(2)
	o.turn(time.Second)
	const stranger = "This link is not one of this Sereno's. Perhaps a part of it was cut off: copy all of it from the message."
	for _, c := range []struct {
		name, path string
		code       int
		want       string
	}{
		{"of another Sereno", other, 404, stranger},
		{"without its end", path[:len(path)-1], 404, stranger},
		{"with more than its end", path + "A", 404, stranger},
		{"of nothing", "/a/AAAA", 404, stranger},
		{"of no letters", "/a/%00%ff", 404, stranger},
		{"very long", "/a/" + strings.Repeat("A", 5000), 404, stranger},
		{"about what was deleted", gone, 410, "What this link was about has been deleted since."},
		{"about what is over", over, 200, "There is nothing to acknowledge any more. ap-1 was down from Sat 21 Nov 2026 13:00:00 CET to Sat 21 Nov 2026 13:00:01 CET."},
		{"expired", o.link(t, Link{1, 1, o.now}), 410, "This link has expired. core-sw1 at plant1 is down. Acknowledge it on the page or with “sereno ack 1”."},
	} {
		for _, method := range []string{"GET", "POST"} {
			if answer := o.follow(method, c.path, ""); answer.Code != c.code || said(answer) != c.want {
				t.Errorf("%s, %s: %d %q, want %d %q", c.name, method, answer.Code, said(answer), c.code, c.want)
			}
		}
	}
	whole, err := linkText.DecodeString(strings.TrimPrefix(path, linkPath))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		whole[i] ^= 1
		if answer := o.follow("POST", linkPath+linkText.EncodeToString(whole), ""); answer.Code != 404 {
			t.Fatalf("with byte %d changed: %d", i, answer.Code)
		}
		whole[i] ^= 1
	}
	if answer := o.follow("POST", path, "who="+strings.Repeat("x", 101)); answer.Code != 413 {
		t.Errorf("a name without end: %d", answer.Code)
	}
	if len(o.wishes) != 0 {
		t.Errorf("carried out: %+v", o.wishes)
	}
}

func TestALinkThatCouldNotActIsAsGoodAsBefore(t *testing.T) {
	o := newOffice(t)
	o.down(1)
	o.turn(time.Second)
	path := o.link(t, NewLink(1, 1, o.now))
	for _, c := range []struct {
		fail error
		code int
		want string
	}{
		{sereno.Errorf(sereno.Unavailable, "not yet"), 503, "That cannot be done just now."},
		{sereno.Errorf(sereno.Conflict, "incident 1 was resolved by ben already"), 409, "That cannot be done. incident 1 was resolved by ben already"},
		{errors.New("secret place"), 500, "That did not work. this is an error of our own; the log says more."},
	} {
		o.fail = c.fail
		if answer := o.follow("POST", path, ""); answer.Code != c.code || !strings.HasPrefix(said(answer), c.want) {
			t.Errorf("%d %q, want %d %q", answer.Code, said(answer), c.code, c.want)
		}
	}
	o.fail = nil
	if answer := o.follow("POST", path, ""); answer.Code != 200 || len(o.wishes) != 1 || o.wishes[0].Who != "somebody with the link" {
		t.Errorf("%d %q, %+v", answer.Code, said(answer), o.wishes)
	}
}

// A page runs nothing, loads nothing, is in nobody's frame, and its own style is
// the one that its policy allows. Names are text in it.
func TestThePageOfALinkIsInert(t *testing.T) {
	o := newOffice(t)
	o.do(201, "POST", "/api/devices", `{"name":"<script>alert(1)</script>&amp;","address":"10.0.0.9"}`, nil)
	o.down(5)
	o.turn(time.Second)
	answer := o.follow("GET", o.link(t, NewLink(5, 1, o.now)), "")
	body, policy := answer.Body.String(), answer.Header().Get("Content-Security-Policy")
	if strings.Contains(body, "<script") || !strings.Contains(body, "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;") {
		t.Errorf("the name is not text:\n%s", body)
	}
	_, style, _ := strings.Cut(body, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	if policy != want {
		t.Errorf("the policy is %q, want %q", policy, want)
	}
	for name, want := range map[string]string{"Referrer-Policy": "same-origin", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8"} {
		if got := answer.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestTheDoorOfLinks(t *testing.T) {
	o := newOffice(t)
	o.down(1)
	o.turn(time.Second)
	path := o.link(t, NewLink(1, 1, o.now))
	for _, c := range []struct {
		name, method, path, host, origin, site, kind string
		code                                         int
	}{
		{name: "on this machine", method: "GET", path: path, host: "127.0.0.1:8080", code: 200},
		{name: "through a proxy", method: "GET", path: path, host: "sereno.example", code: 200},
		{name: "through a proxy with a port", method: "GET", path: path, host: "SERENO.example:8443", code: 200},
		{name: "from a page with mail", method: "GET", path: path, host: "sereno.example", site: "cross-site", code: 200},
		{name: "at another name", method: "GET", path: path, host: "rebound.example", code: 421},
		{name: "something else through a proxy", method: "GET", path: "/api/devices", host: "sereno.example", code: 421},
		{name: "by another way to write the path", method: "GET", path: "/a/../api/devices", host: "sereno.example", code: 307},
		{name: "by a third way to write it", method: "GET", path: "/a/..%2fapi%2fdevices", host: "sereno.example", code: 404},
		{name: "by a fourth", method: "GET", path: "//api/devices/a/", host: "sereno.example", code: 421},
		{name: "pressed by another site", method: "POST", path: path, host: "sereno.example", origin: "https://evil.example", site: "cross-site", code: 403},
		{name: "pressed by another site, in an old browser", method: "POST", path: path, host: "sereno.example", origin: "https://evil.example", code: 403},
		{name: "pressed by nobody's page", method: "POST", path: path, host: "sereno.example", origin: "null", code: 403},
		{name: "pressed by a page at another port", method: "POST", path: path, host: "127.0.0.1:8080", origin: "https://sereno.example:444", code: 403},
		{name: "as JSON", method: "POST", path: path, host: "sereno.example", kind: "application/json", code: 415},
		{name: "a form for something else", method: "POST", path: "/api/incidents/1/acknowledge", host: "127.0.0.1", kind: "application/x-www-form-urlencoded", code: 415},
		{name: "behind a proxy that names itself", method: "POST", path: path, host: "127.0.0.1:8080", origin: "https://sereno.example", code: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request(c.method, c.path, "")
			r.Host = c.host
			if c.method == http.MethodPost {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			for name, value := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site, "Content-Type": c.kind} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			if answer := serve(o, r); answer.Code != c.code {
				t.Errorf("%d, want %d: %s", answer.Code, c.code, answer.Body)
			}
		})
	}
	if len(o.wishes) != 1 {
		t.Errorf("carried out: %+v", o.wishes)
	}
	o.plan.Book.URL = ""
	r := request("GET", path, "")
	r.Host = ""
	if answer := serve(o, r); answer.Code != 421 {
		t.Errorf("without an address of our own a request for nobody is answered: %d", answer.Code)
	}
}

func FuzzLink(f *testing.F) {
	path, err := NewLink(1, 1, noon).Path(keyed("key"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.TrimPrefix(path, linkPath))
	f.Fuzz(func(t *testing.T, token string) {
		l, ok := readLink(keyed("key"), token)
		if !ok {
			return
		}
		if again, err := l.Path(keyed("key")); err != nil || again != linkPath+token {
			t.Errorf("%q is %+v, which is %q", token, l, again)
		}
	})
}

// TestTenThousandAreAcknowledgedInOneTransaction: as many as a digest may tell of.
func TestTenThousandAreAcknowledgedInOneTransaction(t *testing.T) {
	if testing.Short() {
		t.Skip("writes tens of thousands of rows to a real disk")
	}
	const many = 10_000
	o := newOffice(t)
	var list []sereno.Device
	for i := range many {
		list = append(list, sereno.Device{
			Name: fmt.Sprintf("ap-%05d", i), Address: "10.0.1.1", Importance: sereno.Medium,
			Checks: []sereno.Check{{Name: "fake", Kind: "fake", Policy: sereno.DefaultPolicy}},
		})
	}
	added, err := o.AddDevices(t.Context(), list, o.now)
	if err != nil {
		t.Fatal(err)
	}
	var e ledger.Entry
	for _, d := range added {
		e.Incidents = append(e.Incidents, sereno.Incident{ID: sereno.IncidentID(d.ID), Device: d.ID, Check: d.Checks[0].ID, Opened: o.now})
	}
	if err := o.Commit(t.Context(), &e); err != nil {
		t.Fatal(err)
	}
	for range many/1000 + 1 {
		o.turn(0)
	}
	o.turn(3 * time.Second)
	var page Page[Alert]
	o.do(200, "GET", "/api/alerts", "", &page)
	if len(page.Items) != 1 || page.Items[0].Count != many {
		t.Fatalf("promised: %d messages", len(page.Items))
	}
	began := time.Now()
	answer := o.follow("POST", o.link(t, NewLink(0, page.Items[0].ID, o.now)), "who=anna")
	t.Logf("acknowledged %d in %s", many, time.Since(began))
	if answer.Code != 200 || len(o.wishes) != many {
		t.Fatalf("%d %q: %d were acknowledged", answer.Code, said(answer), len(o.wishes))
	}
	began = time.Now()
	o.follow("GET", o.link(t, NewLink(0, page.Items[0].ID, o.now.Add(48*time.Hour))), "")
	t.Logf("the page took %s", time.Since(began))
	o.turn(time.Second)
	o.do(200, "GET", "/api/alerts", "", &page)
	if len(page.Items) != 2 || page.Items[0].Event != notify.Acknowledged || page.Items[0].Count != many {
		t.Errorf("told in %d messages", len(page.Items)-1)
	}
}
