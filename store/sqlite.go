package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"sereno"
)

const (
	// sqliteMagic begins every SQLite file. In its header the page size stands
	// at 16, the number of pages at 28, the application id at 68
	// (https://www.sqlite.org/fileformat.html).
	sqliteMagic       = "SQLite format 3\x00"
	sqliteHeader      = 100
	sqliteApplication = 0x5352_4e4f // "SRNO"

	sqliteReaders = 4
)

// openSQLite opens the file at path or makes it. The order matters: the lock,
// then a look at the bytes, and only a file that is ours is given to SQLite,
// which would otherwise recover and change it.
//
// There is no PRAGMA quick_check: it reads the whole file (seconds a gigabyte)
// at every start, while a file that is cut short is noticed here, SQLite notices a
// bad page when it meets it, and the log after a crash carries checksums.
func openSQLite(ctx context.Context, path string, version int64, log *slog.Logger) (*Store, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && version == asItIs {
		return nil, sereno.Errorf(sereno.NotFound, "there is no store at %s: say which folder holds it", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, explainFile(path, err)
	}
	lock, err := lockFile(path + lockSuffix)
	if err != nil {
		return nil, explainFile(path, err)
	}
	err = inspect(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(path, func(db *sql.DB) error { return migrate(ctx, goose.DialectSQLite3, db, version, log) }, "_pragma=synchronous(full)")
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	// The writer's cache holds the leaves that a storm of spans touches; a
	// reader's is small, since there are several.
	s := &Store{
		writer: sqliteDB(path, 1, "_txlock=immediate", "_pragma=journal_mode(wal)", "_pragma=synchronous(full)",
			"_pragma=foreign_keys(1)", "_pragma=cache_size(-16000)", "_pragma=journal_size_limit(67108864)"),
		reader:  sqliteDB(path, sqliteReaders, "_pragma=query_only(1)"),
		explain: explainSQLite(path),
		release: lock.Close,
		log:     log,
	}
	if err := migrate(ctx, goose.DialectSQLite3, s.writer, version, log); err != nil {
		s.Close()
		return nil, s.failed("open "+path, err)
	}
	return s, nil
}

// create makes a store beside path, by what fill does with it, and then moves
// it there, so that path is never half a store, whenever the power fails.
func create(path string, fill func(*sql.DB) error, options ...string) error {
	for _, suffix := range []string{"-wal", "-journal"} {
		if _, err := os.Lstat(path + suffix); err == nil {
			return sereno.Errorf(sereno.Invalid, "%s is gone but its log %s is there: put the file back, or move the log away to begin anew", path, path+suffix)
		}
	}
	draft := path + ".new"
	discard := func() {
		for _, suffix := range []string{"", "-journal"} {
			os.Remove(draft + suffix)
		}
	}
	discard()
	f, err := os.OpenFile(draft, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return explainFile(path, err)
	}
	defer f.Close()
	db := sqliteDB(draft, 1, append(options, "_txlock=immediate", fmt.Sprintf("_pragma=application_id(%d)", sqliteApplication))...)
	err = fill(db)
	if e := db.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		discard()
		if sereno.KindOf(err) != sereno.Internal {
			return err
		}
		return fmt.Errorf("make %s: %w", path, explainSQLite(path)(err))
	}
	if err := os.Rename(draft, path); err != nil {
		discard()
		return explainFile(path, err)
	}
	return explainFile(path, syncFolder(filepath.Dir(path)))
}

// restoreSQLite makes the store at path with a schema and what fill puts there.
// The draft needs no journal: if it fails, it is thrown away.
func restoreSQLite(ctx context.Context, path string, schema int64, fill func(*Draft) error, log *slog.Logger) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return explainFile(path, err)
	}
	lock, err := lockFile(path + lockSuffix)
	if err != nil {
		return explainFile(path, err)
	}
	defer lock.Close()
	if _, err := os.Lstat(path); err == nil {
		return sereno.Errorf(sereno.Conflict, "%s is there already: choose another place, or move it away", path)
	}
	return create(path, func(db *sql.DB) error {
		if err := migrate(ctx, goose.DialectSQLite3, db, schema, log); err != nil {
			return err
		}
		if err := fillIn(ctx, db, schema, fill); err != nil {
			return err
		}
		return migrate(ctx, goose.DialectSQLite3, db, latest, log)
	}, "_pragma=journal_mode(off)", "_pragma=synchronous(off)", "_pragma=cache_size(-64000)")
}

func sqliteDB(path string, connections int, options ...string) *sql.DB {
	// The path goes as a URI, since it may contain what means something in
	// one. Nothing opens before the first query.
	var dsn strings.Builder
	dsn.WriteString((&url.URL{Scheme: "file", OmitHost: true, Path: path}).String() + "?mode=rw&_pragma=busy_timeout(10000)&_pragma=temp_store(memory)")
	for _, o := range options {
		dsn.WriteString("&" + o)
	}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		panic(err) // the driver is linked in; there is no other reason
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// inspect tells whether the bytes at path are a store of ours, without
// touching them. It is fs.ErrNotExist if there is nothing.
func inspect(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return explainFile(path, err)
	}
	defer f.Close()
	header := make([]byte, sqliteHeader)
	n, err := io.ReadFull(f, header)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return sereno.Errorf(sereno.Invalid, "%s is empty, so it is no store any more: restore a backup, or remove the file to begin anew", path)
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return explainFile(path, err)
	case n >= len(sqliteMagic) && string(header[:len(sqliteMagic)]) != sqliteMagic, n < len(sqliteMagic):
		return sereno.Errorf(sereno.Invalid, "%s is not a store of Sereno's (it is no SQLite file): choose another file, or another folder for the data", path)
	case n < sqliteHeader:
		return damaged(path)
	case binary.BigEndian.Uint32(header[68:]) != sqliteApplication:
		return sereno.Errorf(sereno.Invalid, "%s is the SQLite file of another program, not a store of Sereno's: choose another file, or another folder for the data", path)
	}
	// With a log beside it the file may be short: the rest is in the log.
	if _, err := os.Lstat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		pageSize, pages := int64(binary.BigEndian.Uint16(header[16:])), int64(binary.BigEndian.Uint32(header[28:]))
		if info, err := f.Stat(); err != nil {
			return explainFile(path, err)
		} else if info.Size() < pageSize*pages {
			return damaged(path)
		}
	}
	return nil
}

func damaged(path string) error {
	return sereno.Errorf(sereno.Internal, "%s is damaged (parts are missing or overwritten): restore a backup, or move it away to begin anew", path)
}

// explainFile makes a sentence of what the file system said about path.
func explainFile(path string, err error) error {
	switch {
	case err == nil || sereno.KindOf(err) != sereno.Internal:
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return full(path)
	case errors.Is(err, unix.EROFS):
		return sereno.Errorf(sereno.Forbidden, "%s lies on a read-only file system: mount it for writing, or choose another folder for the data", path)
	case errors.Is(err, fs.ErrPermission):
		return sereno.Errorf(sereno.Forbidden, "%s may not be written by this user: give it the folder %s and all in it, or choose another folder for the data", path, filepath.Dir(path))
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR):
		return sereno.Errorf(sereno.Invalid, "%s cannot be a store, a folder and a file are in each other's place (%v): choose another path", path, err)
	}
	return sereno.Errorf(sereno.Internal, "%s cannot be used as a store: %v", path, err)
}

func full(path string) error {
	return fmt.Errorf("%s cannot grow, %w: make room there", path, ErrFull)
}

// explainSQLite makes sentences of what SQLite said about the file at path.
func explainSQLite(path string) func(error) error {
	return func(err error) error {
		e, ok := errors.AsType[*sqlite.Error](err)
		if !ok {
			return err
		}
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return full(path)
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return damaged(path)
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
			return explainFile(path, fs.ErrPermission)
		case sqlite3.SQLITE_BUSY:
			return sereno.Errorf(sereno.Internal, "%s is held by another program: close what has it open for writing", path)
		case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR:
			// SQLite says neither what failed nor why, but a disk without
			// room is by far the commonest reason.
			if fullDisk(filepath.Dir(path)) {
				return full(path)
			}
			return fmt.Errorf("%s: %w", path, err)
		}
		return err
	}
}

// fullDisk reports whether less than a megabyte is left where path is.
func fullDisk(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Bavail*uint64(fs.Bsize) < 1<<20
}
