package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"

	"sereno"
)

//go:embed migration
var migrations embed.FS

// The versions of a schema that have no number.
const (
	latest int64 = 0
	asItIs int64 = -1 // an older one stays
)

// migrate brings a schema to a version, one transaction a step, forward only. A
// schema newer than this program is refused, since nobody knows what it means.
func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB, version int64, log *slog.Logger) error {
	files, err := fs.Sub(migrations, "migration/"+migrationFolder[dialect])
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, files, goose.WithSlog(log), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if have > want {
		return sereno.Errorf(sereno.Invalid, "the store was written by a newer Sereno (schema %d, this one knows %d): use that version, or a backup from before the upgrade", have, want)
	}
	switch version {
	case asItIs:
		return nil
	case latest:
	default:
		want = version
	}
	steps, err := p.UpTo(ctx, want)
	if err != nil {
		return fmt.Errorf("migrate from schema %d to %d: %w", have, want, err)
	}
	if len(steps) > 0 {
		log.InfoContext(ctx, "migrated the store", "from", have, "to", want)
	}
	return nil
}

var migrationFolder = map[goose.Dialect]string{goose.DialectSQLite3: "sqlite", goose.DialectPostgres: "postgres"}
