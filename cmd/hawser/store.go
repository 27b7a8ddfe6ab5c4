package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"hawser/cmd/hawser/config"
	"hawser/persistence"
	"hawser/persistence/postgres"
	"hawser/persistence/sqlite"
)

const (
	// databaseWithin is how long a node waits for its database when it starts: both may start at the same time.
	databaseWithin = 30 * time.Second
	// databasePause lies between two attempts.
	databasePause = 500 * time.Millisecond
)

// storeName says in the log which store a node uses.
func storeName(c *config.Config) string {
	if c.Postgres.URL.Empty() {
		return "sqlite in " + c.DataDir
	}
	return "postgres"
}

// openStore opens PostgreSQL if it is configured, else the embedded store (decision O1).
func openStore(ctx context.Context, c *config.Config, log *slog.Logger, observe persistence.Observe) (persistence.Store, error) {
	if c.Postgres.URL.Empty() {
		s, err := sqlite.Open(ctx, sqlite.Options{Dir: c.DataDir, Log: log, Observe: observe})
		if err != nil {
			return nil, fmt.Errorf("embedded store in %s: %w", c.DataDir, err)
		}
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, databaseWithin)
	defer cancel()
	options := postgres.Options{URL: c.Postgres.URL.Reveal(), TTL: c.Cluster.LeaseTTL, Log: log, Observe: observe}
	pause := time.NewTicker(databasePause)
	defer pause.Stop()
	for attempt := 1; ; attempt++ {
		s, err := postgres.Open(ctx, options)
		switch {
		case err == nil:
			return s, nil
		case !errors.Is(err, persistence.ErrUnavailable): // waiting would not help
			return nil, fmt.Errorf("database: %w", err)
		case attempt == 1:
			log.Warn("the database cannot be opened yet", "error", err, "within", databaseWithin.String())
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("database: %w", err)
		}
	}
}
