package backup_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"sereno"
	"sereno/backup"
	"sereno/store"
	"sereno/store/postgrestest"
)

// begun is a backup of which only the head can be known.
func begun(tb testing.TB, head string) []byte {
	tb.Helper()
	var file bytes.Buffer
	z, err := zstd.NewWriter(&file)
	must(tb, err)
	a := tar.NewWriter(z)
	must(tb, a.WriteHeader(&tar.Header{Name: "head.json", Mode: 0o600, Size: int64(len(head)), Typeflag: tar.TypeReg}))
	_, err = a.Write([]byte(head))
	must(tb, err)
	noise := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	must(tb, a.WriteHeader(&tar.Header{Name: "of-the-future", Mode: 0o600, Size: int64(len(noise))}))
	_, err = a.Write(noise)
	must(tb, err)
	must(tb, a.Close())
	must(tb, z.Close())
	return file.Bytes()
}

func TestABackupOfANewerSerenoIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, head, words string
	}{
		{
			"a newer format", fmt.Sprintf(`{"format":%d,"sereno":"9.9","schema":1}`, backup.Format+1),
			fmt.Sprintf("the backup was written by a newer Sereno (9.9, format %d; this one reads %d): use that version", backup.Format+1, backup.Format),
		},
		{
			"a newer schema", fmt.Sprintf(`{"format":%d,"sereno":"9.9","schema":%d}`, backup.Format, store.LatestSchema()+1),
			fmt.Sprintf("the backup was written by a newer Sereno (9.9, schema %d; this one knows %d): use that version", store.LatestSchema()+1, store.LatestSchema()),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "data")
			err := restore(t, begun(t, c.head), "", folder)
			refused(t, err, sereno.Invalid, c.words)
			if err.Error() != c.words {
				t.Errorf("%q is not one sentence", err)
			}
			if left, err := os.ReadDir(folder); err == nil && len(left) > 0 {
				t.Errorf("left is %v", left)
			}
			refused(t, verify(t, begun(t, c.head), "", true), sereno.Invalid, c.words)
		})
	}
}

// When the database is filled and the folder cannot follow, the error says what
// there is and what to do.
func TestAFolderThatCannotFollowItsDatabase(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	live(t, from, "a", 100)
	file := written(t, source(t, from), "")
	url, folder := postgrestest.Database(t), filepath.Join(t.TempDir(), "data")
	again := func(obstacle func(backup.Progress)) error {
		r, err := backup.Open(bytes.NewReader(file), says(""))
		must(t, err)
		defer r.Close()
		_, err = backup.Restore(t.Context(), r, backup.Target{Data: folder, Database: url, Progress: obstacle, Log: quiet()})
		return err
	}
	inTheWay := filepath.Join(folder, "samples", "in-the-way")
	err := again(func(backup.Progress) { must(t, os.MkdirAll(inTheWay, 0o700)) })
	refused(t, err, sereno.Conflict, "the database is filled, but its folder "+folder+" is not", "drop the database and make it anew, then restore again")
	must(t, os.RemoveAll(folder))
	refused(t, again(nil), sereno.Conflict, "already")
}
