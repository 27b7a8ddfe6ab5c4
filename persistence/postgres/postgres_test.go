package postgres_test

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"hawser/persistence"
	"hawser/persistence/persistencetest"
	"hawser/persistence/postgres"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
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
