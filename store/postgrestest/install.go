package postgrestest

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// release is the npm package's version, which is PostgreSQL's own and a number
// of the packaging.
const release = "18.4.0-beta.17"

// platforms are the names that the npm packages give to processors.
var platforms = map[string]string{"amd64": "linux-x64", "arm64": "linux-arm64", "arm": "linux-arm"}

// install returns the folder of PostgreSQL's programs (with bin, lib and share
// in it) and fetches them if they are not there yet. Packages that are tested
// at the same time wait for the first of them. SERENO_TEST_POSTGRES names the
// folder of another version to test with, such as /usr/lib/postgresql/15.
func install() (string, error) {
	if home := os.Getenv("SERENO_TEST_POSTGRES"); home != "" {
		return home, nil
	}
	platform, ok := platforms[runtime.GOARCH]
	if !ok || runtime.GOOS != "linux" {
		return "", fmt.Errorf("there is no PostgreSQL to fetch for %s on %s", runtime.GOOS, runtime.GOARCH)
	}
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	home := filepath.Join(cache, "postgres-"+platform+"-"+release)
	if _, err := os.Stat(home); !errors.Is(err, fs.ErrNotExist) {
		return filepath.Join(home, "native"), err
	}
	draft := home + ".new"
	if err := os.RemoveAll(draft); err != nil {
		return "", err
	}
	if err := os.MkdirAll(draft, 0o755); err != nil {
		return "", err
	}
	if err := fetch(draft, "@embedded-postgres/"+platform+"@"+release); err != nil {
		return "", err
	}
	return filepath.Join(home, "native"), os.Rename(draft, home)
}

// cacheFolder is where downloads stay. The server cannot run as root and must
// read its programs, so root's are where everybody can.
func cacheFolder() (string, error) {
	if os.Getuid() == 0 {
		return "/var/cache/sereno", nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "sereno"), err
}

// fetch puts what is in an npm package into a folder. npm itself compares the
// package with the checksum in its registry.
func fetch(folder, name string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("PostgreSQL is fetched by npm, which is not installed (Debian package npm)")
	}
	pack := exec.Command(npm, "pack", "--silent", "--pack-destination", folder, name)
	pack.Dir = folder
	out, err := pack.Output()
	if err != nil {
		text := err.Error()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			text += "\n" + string(exit.Stderr)
		}
		return fmt.Errorf("npm pack %s: %s", name, text)
	}
	file := filepath.Join(folder, filepath.Base(strings.TrimSpace(string(out))))
	if err := unpack(file, folder); err != nil {
		return fmt.Errorf("unpack %s: %w", file, err)
	}
	if err := os.Remove(file); err != nil {
		return err
	}
	return link(folder)
}

// unpack writes the files of an npm package, whose paths all begin with
// package/, into a folder.
func unpack(file, folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	archive := tar.NewReader(unzipped)
	for {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path, ok := strings.CutPrefix(entry.Name, "package/")
		if !ok || entry.Typeflag != tar.TypeReg {
			continue
		}
		if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(path, "native/bin/") {
			mode = 0o755 // npm does not keep it
		}
		to, err := root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(to, archive)
		if e := to.Close(); err == nil {
			err = e
		}
		if err != nil {
			return err
		}
	}
}

// link makes the symbolic links, which an npm package cannot hold and lists in
// a file instead.
func link(folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, "native", "pg-symlinks.json"))
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("read pg-symlinks.json: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, l := range links {
		to, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
		if err != nil {
			return err
		}
		if err := root.Symlink(to, l.Target); err != nil {
			return err
		}
	}
	return nil
}
