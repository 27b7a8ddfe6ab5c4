package persistencetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// serverVariable names a PostgreSQL server for tests: a URL of a database in which schemas may be created.
const serverVariable = "HAWSER_TEST_POSTGRES_URL"

// usual are the servers that are looked for where the variable is not set.
var usual = []string{"postgres://root@127.0.0.1:5432/test?sslmode=disable", "postgres://postgres@127.0.0.1:5432/test?sslmode=disable"}

// setupTimeout bounds each step of making and dropping a schema.
const setupTimeout = 30 * time.Second

// Schema makes an empty schema for one test, dropped with all that is in it when the test ends, and returns a URL whose
// search_path is that schema. pgx, psql and pgbench understand it.
//
// The server is the one of HAWSER_TEST_POSTGRES_URL, else that of 127.0.0.1:5432, else a private one that is started from
// local binaries for this test process.
func Schema(t testing.TB) string {
	t.Helper()
	server, err := findServer()
	if err != nil {
		t.Fatal(err)
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		t.Fatal(err)
	}
	name := "hawser_test_" + hex.EncodeToString(random[:])
	if err := execute(server, `create schema `+name); err != nil {
		t.Fatalf("persistencetest: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(server, `set client_min_messages = warning; set lock_timeout = '20s'; drop schema `+name+` cascade`); err != nil {
			t.Errorf("persistencetest: %v", err)
		}
	})
	return withSearchPath(server, name)
}

// withSearchPath puts the schema into the URL as a command line option of the session, the one form that libpq and pgx
// both take. libpq does not read "+" as a space.
func withSearchPath(server, schema string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic("persistencetest: a server URL that was used cannot be parsed")
	}
	q := u.Query()
	q.Set("options", strings.TrimSpace(q.Get("options")+" -c search_path="+schema))
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String()
}

func execute(server, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// findServer looks once per process.
var findServer = sync.OnceValues(func() (string, error) {
	if server := os.Getenv(serverVariable); server != "" {
		if err := usable(server); err != nil {
			return "", fmt.Errorf("persistencetest: %s: %s", serverVariable, oneLine(err))
		}
		return server, nil
	}
	var tried []error
	for _, server := range usual {
		err := usable(server)
		if err == nil {
			return server, nil
		}
		tried = append(tried, err)
	}
	server, err := startServer()
	if err != nil {
		return "", fmt.Errorf("persistencetest: no PostgreSQL: %s is not set, none at 127.0.0.1:5432 (%s), and no private one: %w",
			serverVariable, oneLine(errors.Join(tried...)), err)
	}
	return server, nil
})

// usable reports whether schemas may be created there.
func usable(server string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var may bool
	if err := conn.QueryRow(ctx, `select has_database_privilege(current_database(), 'create')`).Scan(&may); err != nil {
		return err
	}
	if !may {
		return errors.New("the user may not create schemas")
	}
	return nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
