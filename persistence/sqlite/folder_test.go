package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
	"hawser/persistence/sqlite"
)

// TestSecondProcess: a folder in use is refused at once, by name, and is free as soon as its holder is gone.
func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	lease := persistencetest.Own(t, first, "m")
	second, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Log: quiet})
	if err == nil {
		_ = second.Close()
		t.Fatal("opened twice")
	}
	if want := fmt.Sprintf("%s is in use by another hawser (process %d)", dir, os.Getpid()); !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("%v, want %q", err, want)
	}
	if err := first.Append(t.Context(), persistencetest.NewAppend(lease, "a", 1)); err != nil {
		t.Fatalf("the first one is disturbed: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third := open(t, dir)
	if err := third.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestLock: the file names the member that held the folder, until the next one names itself.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	l, err := sqlite.AcquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if l.Member() != "" {
		t.Fatalf("a new folder names %q", l.Member())
	}
	for _, id := range []string{"a-long-member-id-0123456789", "short"} {
		if err := l.SetMember(id); err != nil {
			t.Fatal(err)
		}
	}
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Lock: l, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.AcquireLock(dir); err == nil {
		t.Fatal("the store gave back the caller's lock")
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time after a process that died before it named itself
		if l, err = sqlite.AcquireLock(dir); err != nil {
			t.Fatal(err)
		}
		if l.Member() != "short" {
			t.Fatalf("the predecessor is %q", l.Member())
		}
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnusableFolders: one line that names the folder.
func TestUnusableFolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, "hawser.db"), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct{ dir, want string }{
		"below a file":  {filepath.Join(file, "data"), "cannot be made"},
		"not writable":  {"/proc/self", "not writable"},
		"not creatable": {"/proc/hawser", "cannot be made"},
		"no database":   {garbage, "damaged or no database"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: row.dir, Log: quiet})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), row.dir) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v, want %q", err, row.want)
			}
		})
	}
}

// TestOddFolder: a folder's name may hold what means something in a URI, and there is one database file in it.
func TestOddFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "100% a?b#c&d=e ö")
	s := open(t, dir)
	lease := persistencetest.Own(t, s, "m")
	if err := s.Append(t.Context(), persistencetest.NewAppend(lease, "a", 1)); err != nil {
		t.Fatal(err)
	}
	if found, err := filepath.Glob(filepath.Join(strings.NewReplacer("?", `\?`).Replace(dir), "*.db")); err != nil || len(found) != 1 {
		t.Fatalf("database files %v %v, want one", found, err)
	}
}

// TestReadableRows reads the file as an operator does, beside the running store.
func TestReadableRows(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	lease := persistencetest.Own(t, s, "m")
	if err := s.Append(t.Context(), persistencetest.NewAppend(lease, "a", 1)); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"while it runs", "after it ended"} {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "hawser.db")+"?mode=ro")
		if err != nil {
			t.Fatal(err)
		}
		var seq, tag, at string
		err = db.QueryRow(`select seq_nr, json_extract(tags, '$[0]') || json_extract(payload, '$.revision'), created_at from journal where pid = 'connection:a'`).Scan(&seq, &tag, &at)
		if err != nil || seq != "1" || tag != "plant1" || !strings.HasSuffix(at, "Z") {
			t.Fatalf("%s: %s %s %s %v", when, seq, tag, at, err)
		}
		_ = db.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull fills the space that the database may take. Appends are refused in words, nothing half is left, and it goes on
// when there is room again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	lease := persistencetest.Own(t, s, "m")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.(*sqlite.Store).LimitPages(t, 200)
	var refused error
	last := int64(0)
	for refused == nil && last < 100_000 {
		if refused = s.Append(ctx, persistencetest.NewAppend(lease, "a", last+1)); refused == nil {
			last++
		}
	}
	if !errors.Is(refused, persistence.ErrUnavailable) || !strings.Contains(refused.Error(), "no space left") || !strings.Contains(refused.Error(), dir) {
		t.Fatalf("after %d rows: %v", last, refused)
	}
	for i := range 20 {
		if err := s.Append(ctx, persistencetest.NewAppend(lease, fmt.Sprintf("other-%d", i), 1)); err == nil {
			continue // a page may have had room for it
		} else if !errors.Is(err, persistence.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if err := s.Purge(ctx, "connection:nobody"); err != nil {
		t.Fatalf("what needs no room: %v", err)
	}
	s.(*sqlite.Store).LimitPages(t, 1<<30)
	for r, err := range s.Recover(ctx, []string{"connection:a"}) {
		if err != nil || r.LastSeq != last {
			t.Fatalf("recovered %d %v, want %d", r.LastSeq, err, last)
		}
	}
	if err := s.Append(ctx, persistencetest.NewAppend(lease, "a", last+1)); err != nil {
		t.Fatal(err)
	}
}

// TestNewerSchema: a database that a newer hawser migrated is left alone.
func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	_ = open(t, dir).Close()
	db, err := sql.Open("sqlite", filepath.Join(dir, "hawser.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`insert into goose_db_version (version_id, is_applied) values (999, 1)`); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	if s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Log: quiet}); err == nil {
		_ = s.Close()
		t.Fatal("opened a database of the future")
	} else if !strings.Contains(err.Error(), "999") || !strings.Contains(err.Error(), dir) {
		t.Fatal(err)
	}
}
