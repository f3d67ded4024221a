package notify

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// Veil returns text without the secrets, in whichever of the usual ways they are
// written (as they are, in URLs, in JSON, in base64). A secret that is a URL
// keeps its host, but for a part of it that looks like a token.
func Veil(text string, secrets ...string) string { return veil(secrets).Replace(text) }

const veiled = "[secret]"

func veil(secrets []string) *strings.Replacer {
	var words []string
	add := func(word string) {
		if word == "" {
			return
		}
		quoted, _ := json.Marshal(word) // a string always can
		words = append(words, word, url.PathEscape(word), url.QueryEscape(word), string(quoted[1:len(quoted)-1]),
			base64.StdEncoding.EncodeToString([]byte(word)), base64.RawURLEncoding.EncodeToString([]byte(word)))
	}
	for _, secret := range secrets {
		add(secret)
		u, err := url.Parse(secret)
		if err != nil || u.Host == "" {
			continue
		}
		add(u.String())
		add(u.RequestURI())
		add(u.RawQuery)
		for _, path := range []string{u.EscapedPath(), u.Path} {
			for _, part := range append(strings.Split(path, "/"), strings.TrimLeft(path, "/")) {
				if len(part) >= 8 { // shorter ones are words such as "hook"
					add(part)
				}
			}
		}
		for _, values := range u.Query() {
			for _, value := range values {
				if len(value) >= 4 {
					add(value)
				}
			}
		}
		if u.User != nil {
			password, _ := u.User.Password()
			add(password)
			add(base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password)))
			if password == "" { // then the name is what lets one in
				add(u.User.Username())
			}
		}
		for label := range strings.SplitSeq(u.Hostname(), ".") {
			if random(label) {
				add(label)
			}
		}
	}
	// "/" alone is the path of many an address and no secret.
	words = slices.DeleteFunc(words, func(w string) bool { return strings.Trim(w, "/?") == "" })
	// Of two secrets that begin alike the longer one is looked for first.
	slices.SortFunc(words, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, word := range slices.Compact(words) {
		pairs = append(pairs, word, veiled)
	}
	return strings.NewReplacer(pairs...)
}

// random reports whether a part of a host's name looks as if it had been drawn,
// as the endpoints of some services do: nobody is to guess them.
func random(label string) bool {
	digits, letters := 0, 0
	for _, r := range label {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
			letters++
		}
	}
	return len(label) >= 12 && digits >= 3 && letters >= 3
}
