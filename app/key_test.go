package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sereno"
)

func newKey(t *testing.T, folder string) *Key {
	t.Helper()
	k, err := OpenKey(folder)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAKeyIsMadeWhenItIsNeeded(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "key")
	k := newKey(t, folder)
	if k.Verify("link", []byte("m"), nil) {
		t.Error("without a key, nothing was signed")
	}
	if _, err := k.Open("channel a", []byte("whatever")); sereno.KindOf(err) != sereno.Invalid {
		t.Errorf("without a key, nothing was sealed: %v", err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Fatalf("nobody needed a key yet: %v", err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := k.Sign("link", []byte("m")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	is, err := os.Stat(file)
	if err != nil || is.Size() != 32 || is.Mode().Perm() != 0o600 {
		t.Fatalf("got %v, %v", is, err)
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 1 {
		t.Errorf("something was left behind: %v", entries)
	}

	signed, err := k.Sign("link", []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := k.Seal("channel a", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	after := newKey(t, folder)
	if !after.Verify("link", []byte("m"), signed) {
		t.Error("what was signed before a restart is not known after it")
	}
	if got, err := after.Open("channel a", sealed); err != nil || string(got) != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestNothingElseIsTakenForSignedOrSealed(t *testing.T) {
	k := newKey(t, t.TempDir())
	signed, err := k.Sign("link", []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	if k.Verify("link", []byte("n"), signed) || k.Verify("other", []byte("m"), signed) || k.Verify("link", []byte("m"), signed[:16]) || k.Verify("link", []byte("m"), nil) {
		t.Error("another message, another purpose, or a part of the mark was taken")
	}
	sealed, err := k.Seal("channel a", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("the secret can be read")
	}
	if again, _ := k.Seal("channel a", []byte("secret")); bytes.Equal(again, sealed) {
		t.Error("the same secret is sealed in the same way twice: one can see that it did not change")
	}
	other := newKey(t, t.TempDir())
	if _, err := other.Sign("link", nil); err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := k.Open("channel a", changed); err == nil {
			t.Fatalf("a change of byte %d was not seen", i)
		}
	}
	for what, err := range map[string]error{
		"another name": second(k.Open("channel b", sealed)), "another key": second(other.Open("channel a", sealed)),
		"a part": second(k.Open("channel a", sealed[:20])), "nothing": second(k.Open("channel a", nil)),
	} {
		if sereno.KindOf(err) != sereno.Invalid || !strings.Contains(err.Error(), "enter them anew") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestABadKeyIsNotReplaced(t *testing.T) {
	for name, text := range map[string]string{"short": "abc", "empty": "", "long": strings.Repeat("x", 33)} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			file := filepath.Join(folder, "key")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenKey(folder); sereno.KindOf(err) != sereno.Invalid || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v", err)
			}
			if now, _ := os.ReadFile(file); string(now) != text {
				t.Error("the file was changed")
			}
		})
	}
	t.Run("a folder", func(t *testing.T) {
		folder := t.TempDir()
		if err := os.Mkdir(filepath.Join(folder, "key"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKey(folder); sereno.KindOf(err) != sereno.Invalid {
			t.Errorf("got %v", err)
		}
	})
	t.Run("one that another process made meanwhile", func(t *testing.T) {
		folder := t.TempDir()
		k := newKey(t, folder)
		theirs := strings.Repeat("k", 32)
		if err := os.WriteFile(filepath.Join(folder, "key"), []byte(theirs), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Sign("link", nil); err == nil {
			t.Error("it was written over")
		}
		if now, _ := os.ReadFile(filepath.Join(folder, "key")); string(now) != theirs {
			t.Error("the file was changed")
		}
	})
}
