package spool

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
)

// content is all files of a folder, to see that nothing changed.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, path := range files(t, dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(b)
	}
	return all
}

func TestALookChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		look := func(dir string) Left {
			t.Helper()
			before := contents(t, dir)
			left, err := Look(dir)
			if err != nil {
				t.Fatal(err)
			}
			if after := contents(t, dir); !reflect.DeepEqual(before, after) {
				t.Errorf("a look changed what was there")
			}
			return left
		}
		if left, err := Look(filepath.Join(t.TempDir(), "none")); err != nil || left.Waits() {
			t.Errorf("nothing: %+v %v", left, err)
		}
		dir := waiting(t, 5)
		if left := look(dir); left.Entries != 5 || left.Bytes == 0 || left.Unreadable != nil {
			t.Errorf("five wait: %+v", left)
		}
		path := files(t, dir)[0]
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write := func(b []byte) {
			t.Helper()
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(whole[:len(whole)-3]) // the power failed
		if left := look(dir); left.Entries != 4 || left.Unreadable != nil {
			t.Errorf("a torn end: %+v", left)
		}
		write(whole[:headSize-1])
		if left := look(dir); left.Waits() {
			t.Errorf("not even begun: %+v", left)
		}
		flipped := []byte(string(whole))
		flipped[headSize+recordHead] ^= 1
		write(flipped)
		if left := look(dir); !left.Waits() || len(left.Unreadable) != 1 || left.Unreadable[0] != path {
			t.Errorf("a flipped bit: %+v", left)
		}
		write([]byte(strings.Replace(string(whole), "spool 1", "spool 2", 1)))
		if left := look(dir); !left.Waits() || len(left.Unreadable) != 1 {
			t.Errorf("of a newer Sereno: %+v", left)
		}
		if err := os.Rename(path, path+setAside); err != nil {
			t.Fatal(err)
		}
		if left := look(dir); left.Waits() || len(left.SetAside) != 1 {
			t.Errorf("set aside: %+v", left)
		}
	})
}
