package postgres

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// oldest is the first server version whose settings this package uses (server_version_num).
const oldest = 120000

// migrate brings the schema that comes first in the search path up to date and returns its name. Nodes that start together
// wait for each other; two schemas of one database do not.
func migrate(ctx context.Context, config *pgx.ConnConfig, log *slog.Logger) (schema string, err error) {
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", failed("connect", err)
	}
	defer func() { _ = conn.Close() }()
	if schema, err = inspect(ctx, conn, log); err != nil {
		return "", err
	}
	// The lock is the session's: it ends with the session, whatever happens in between.
	const key = `hashtextextended('hawser schema ' || current_schema(), 0)`
	if _, err := conn.ExecContext(ctx, `select pg_advisory_lock(`+key+`)`); err != nil {
		return "", failed("wait for another node to migrate the schema", err)
	}
	defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), `select pg_advisory_unlock(`+key+`)`) }()

	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return "", fmt.Errorf("postgres: schema migrations: %w", err)
	}
	present, known, err := provider.GetVersions(ctx)
	if err != nil {
		return "", failed("read the schema version", err)
	}
	if present > known {
		return "", fmt.Errorf("postgres: schema %s has version %d, this hawser knows %d: it was migrated by a newer one", schema, present, known)
	}
	done, err := provider.Up(ctx)
	if err != nil {
		return "", failed("migrate the schema", err)
	}
	for _, m := range done {
		log.Info("schema migrated", "schema", schema, "version", m.Source.Version, "took", m.Duration)
	}
	return schema, nil
}

// inspect checks that the server will do and says which schema is used.
func inspect(ctx context.Context, conn *sql.Conn, log *slog.Logger) (string, error) {
	var schema sql.NullString
	var version int
	var fsync string
	err := conn.QueryRowContext(ctx, `select current_schema(), current_setting('server_version_num')::int, current_setting('fsync')`).
		Scan(&schema, &version, &fsync)
	switch {
	case err != nil:
		return "", failed("inspect the server", err)
	case version < oldest:
		return "", fmt.Errorf("postgres: server version %d.%d is too old, want %d or newer", version/10000, version%10000, oldest/10000)
	case !schema.Valid:
		return "", fmt.Errorf("postgres: the search_path of the connection URL names no schema that exists")
	case fsync == "off":
		log.Warn("the database runs with fsync=off: what was acknowledged may be lost when its machine fails")
	}
	return schema.String, nil
}
