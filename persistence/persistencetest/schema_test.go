package persistencetest

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSchema: pgx and psql land in the schema, which is new, and gone afterwards.
func TestSchema(t *testing.T) {
	var url, name string
	t.Run("use", func(t *testing.T) {
		url = Schema(t)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if err := conn.QueryRow(t.Context(), `select current_schema()`).Scan(&name); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(name, "hawser_test_") {
			t.Fatalf("pgx is in schema %q", name)
		}
		psql, err := exec.LookPath("psql")
		if err != nil {
			bin, err := binaries()
			if err != nil {
				t.Fatal(err)
			}
			psql = filepath.Join(bin, "psql")
		}
		out, err := exec.CommandContext(t.Context(), psql, url, "-tAqc", "create table t (x int); select current_schema()").CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != name {
			t.Fatalf("psql is in schema %q: %v", out, err)
		}
		if other := Schema(t); other == url {
			t.Fatal("the same schema twice")
		}
	})
	server, err := findServer()
	if err != nil {
		t.Fatal(err)
	}
	if err := execute(server, `create schema `+name+`; drop schema `+name); err != nil {
		t.Fatalf("the schema was not dropped: %v", err)
	}
}

// TestPrivateServer starts the server that is used where none is found, durable as a real one, and sees it end.
func TestPrivateServer(t *testing.T) {
	url, err := startServer()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	var fsync, commit, folder string
	if err := conn.QueryRow(t.Context(), `select current_setting('fsync'), current_setting('synchronous_commit'), current_setting('data_directory')`).Scan(&fsync, &commit, &folder); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(context.Background())
	if fsync != "on" || commit != "on" {
		t.Errorf("fsync %s, synchronous_commit %s", fsync, commit)
	}
	if err := usable(withSearchPath(url, "public")); err != nil {
		t.Fatal(err)
	}
	_ = alive.Close() // as the end of the process does
	Until(t, "the server has ended and left nothing", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		left, _ := filepath.Glob(filepath.Dir(folder))
		return len(left) == 0 && usable(url) != nil && ctx.Err() == nil
	})
}

func TestSearchPathKeepsOptions(t *testing.T) {
	got := withSearchPath("postgres://u@h:5432/d?options=-c%20work_mem%3D8MB&sslmode=disable", "s")
	if want := "postgres://u@h:5432/d?options=-c%20work_mem%3D8MB%20-c%20search_path%3Ds&sslmode=disable"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
