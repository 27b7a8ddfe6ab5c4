package sqlite_test

import (
	"context"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
	"hawser/persistence/sqlite"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	persistencetest.Child(func(dir string) (persistence.Store, error) {
		return sqlite.Open(context.Background(), sqlite.Options{Dir: dir, Log: quiet})
	})
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string) persistence.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestExercise(t *testing.T) {
	persistencetest.Exercise(t, func(t testing.TB) persistencetest.Database {
		dir := t.TempDir()
		return func(t testing.TB) persistence.Store { return open(t, dir) }
	})
}

func TestCrash(t *testing.T) {
	dir := t.TempDir()
	persistencetest.Crash(t, dir, func(t testing.TB) persistence.Store { return open(t, dir) })
}
