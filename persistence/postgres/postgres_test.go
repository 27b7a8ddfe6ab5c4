package postgres_test

import (
	"context"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
	"hawser/persistence/postgres"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	persistencetest.Child(func(url string) (persistence.Store, error) {
		return postgres.Open(context.Background(), postgres.Options{URL: url, Log: quiet})
	})
	goleak.VerifyTestMain(m)
}

// open opens a store that is closed when the test ends.
func open(t testing.TB, o postgres.Options) *postgres.Store {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet
	}
	s, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestExercise(t *testing.T) {
	persistencetest.Exercise(t, func(t testing.TB) persistencetest.Database {
		url := persistencetest.Schema(t)
		return func(t testing.TB) persistence.Store { return open(t, postgres.Options{URL: url}) }
	})
}

func TestCrash(t *testing.T) {
	url := persistencetest.Schema(t)
	persistencetest.Crash(t, url, func(t testing.TB) persistence.Store { return open(t, postgres.Options{URL: url}) })
}
