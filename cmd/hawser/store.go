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

// holdFolder takes the data folder for this process, whatever the store: that it could be taken proves that the node which had
// it before is dead (design.md 3.2 rule 4b). A node with a database can do without a folder, but not with another node's.
func holdFolder(c *config.Config, log *slog.Logger) (*sqlite.Lock, error) {
	lock, err := sqlite.AcquireLock(c.DataDir)
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, sqlite.ErrInUse):
		return nil, fmt.Errorf("%w: each node needs a data folder of its own (data-dir, HAWSER_DATA_DIR)", err)
	case c.Postgres.URL.Empty():
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	log.Warn("without a data folder a successor of this node may have to wait for the end of its lease if this process dies", "data_dir", c.DataDir, "error", err)
	return nil, nil
}

// openStore opens PostgreSQL if it is configured, else the embedded store (decision O1) in the folder that lock holds.
func openStore(ctx context.Context, c *config.Config, lock *sqlite.Lock, log *slog.Logger, observe persistence.Observe) (persistence.Store, error) {
	if c.Postgres.URL.Empty() {
		s, err := sqlite.Open(ctx, sqlite.Options{Dir: c.DataDir, Lock: lock, Log: log, Observe: observe})
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
