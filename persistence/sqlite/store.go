package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"hawser/persistence"
	"hawser/persistence/groupcommit"
)

// databaseFile is the database in the data folder; SQLite keeps its log and index beside it while it is open.
const databaseFile = "hawser.db"

//go:embed migrations/*.sql
var migrations embed.FS

// Options say where the database is.
type Options struct {
	// Dir is the data folder (HAWSER_DATA_DIR). It is made if it is not there.
	Dir string
	// Lock is the lock of Dir if the caller holds it already; it stays the caller's. Nil: Open takes it and Close gives it back.
	Lock *Lock
	// Log takes what an operator should know; nil: slog.Default.
	Log *slog.Logger
	// Observe, if set, is told of each batch of appends and each page of a recovery.
	Observe persistence.Observe
}

// Store is a persistence.Store in one SQLite file. Safe for concurrent use.
type Store struct {
	opts    Options
	lock    *Lock // nil: the caller's
	reads   *sql.DB
	writes  *sql.DB
	writer  *sql.Conn     // the one connection of writes
	turn    chan struct{} // holds one token: who has it may use writer
	appends *appends
	queue   *groupcommit.Lane

	beatMu sync.Mutex
	beats  map[persistence.MemberID]beat

	closing sync.Once
	closed  error
}

// beat is the last beat of a member. It is in memory only: no other process could read it.
type beat struct {
	count       int64
	unreachable []persistence.MemberID
}

var _ persistence.Store = (*Store)(nil)

// readers is the number of connections for reading.
const readers = 4

// closeTimeout bounds the wait of Close for the batch under way.
const closeTimeout = 5 * time.Second

// Open takes the data folder, brings the schema up to date and removes what dead processes left of their memberships: the
// lock proves that all of them are dead. ctx bounds the opening only. Errors name the folder.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Observe == nil {
		o.Observe = func(persistence.Operation, int, time.Duration, error) {}
	}
	s := &Store{opts: o, turn: make(chan struct{}, 1), beats: map[persistence.MemberID]beat{}}
	s.turn <- struct{}{}
	if err := s.open(ctx); err != nil {
		s.release()
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	s.queue = groupcommit.New(groupcommit.CommitterFunc(s.commit))
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if s.opts.Lock == nil {
		if s.lock, err = AcquireLock(s.opts.Dir); err != nil {
			return err
		}
	}
	if s.writes, err = sql.Open("sqlite", source(s.opts.Dir, "_txlock=immediate")); err != nil {
		return s.inFolder("open the database", err)
	}
	s.writes.SetMaxOpenConns(1)
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if s.writer, err = s.writes.Conn(ctx); err != nil {
		return s.inFolder("open the database", err)
	}
	if err := s.clearMembers(ctx); err != nil {
		return s.inFolder("remove the memberships of dead processes", err)
	}
	if s.appends, err = prepareAppends(ctx, s.writer); err != nil {
		return s.inFolder("prepare", err)
	}
	if s.reads, err = sql.Open("sqlite", source(s.opts.Dir, "_pragma=query_only(1)")); err != nil {
		return s.inFolder("open the database", err)
	}
	s.reads.SetMaxOpenConns(readers)
	s.reads.SetMaxIdleConns(readers)
	return s.Ping(ctx)
}

// source is the driver's name for the database: a file URI, in which a folder's name may hold any character.
func source(dir, more string) string {
	u := url.URL{Path: filepath.Join(dir, databaseFile)}
	return "file:" + u.EscapedPath() + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)" +
		"&_pragma=cache_size(-16000)&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)&" + more
}

func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.writes, files)
	if err != nil {
		return fmt.Errorf("schema migrations: %w", err)
	}
	present, known, err := provider.GetVersions(ctx)
	if err != nil {
		return s.inFolder("read the schema version", err)
	}
	if present > known {
		return fmt.Errorf("the database in %s has schema version %d, this hawser knows %d: it was migrated by a newer one", s.opts.Dir, present, known)
	}
	done, err := provider.Up(ctx)
	if err != nil {
		return s.inFolder("migrate the schema", err)
	}
	for _, m := range done {
		s.opts.Log.Info("schema migrated", "folder", s.opts.Dir, "version", m.Source.Version, "took", m.Duration)
	}
	return nil
}

// Ping reads one row.
func (s *Store) Ping(ctx context.Context) error {
	var n int
	return failed("ping", s.reads.QueryRowContext(ctx, `select count(*) from settings`).Scan(&n))
}

// Close lets the batch under way end, refuses what waits behind it and closes the file.
func (s *Store) Close() error {
	s.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := s.queue.Close(ctx); err != nil {
			s.closed = fmt.Errorf("sqlite: a batch is stuck in the file system: %w", err)
			return // closing the file under it would wait as well
		}
		<-s.turn // kept: nothing is written any more
		s.closed = s.release()
	})
	return s.closed
}

func (s *Store) release() error {
	var errs []error
	if s.appends != nil {
		s.appends.close()
	}
	if s.reads != nil {
		errs = append(errs, s.reads.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	if s.writes != nil {
		errs = append(errs, s.writes.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Release())
	}
	return errors.Join(errs...)
}

// Append writes one event: see persistence.Journal.
func (s *Store) Append(ctx context.Context, a persistence.Append) error {
	if err := groupcommit.Check(&a); err != nil {
		return err
	}
	return s.queue.Do(ctx, groupcommit.NewAppend(a))
}

// SaveSnapshot writes a snapshot alone: see persistence.Journal.
func (s *Store) SaveSnapshot(ctx context.Context, l persistence.Lease, snap persistence.Snapshot) error {
	return s.queue.Do(ctx, groupcommit.NewSnapshot(l, snap))
}

// transaction runs one transaction beside the appends, in turn with them.
func (s *Store) transaction(ctx context.Context, what string, do func(ctx context.Context, c *sql.Conn) error) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return failed(what, ctx.Err())
	}
	defer func() { s.turn <- struct{}{} }()
	return failed(what, s.inTransaction(ctx, func() error { return do(ctx, s.writer) }))
}

// inTransaction needs the turn.
func (s *Store) inTransaction(ctx context.Context, do func() error) error {
	if _, err := s.writer.ExecContext(ctx, "begin immediate"); err != nil {
		return err
	}
	err := do()
	if err == nil {
		// Not ctx: a commit that is interrupted tells nobody whether it happened.
		_, err = s.writer.ExecContext(context.Background(), "commit")
	}
	if err != nil {
		_, _ = s.writer.ExecContext(context.Background(), "rollback")
	}
	return err
}

// failed says what was attempted, and that the store is unavailable when the file system is what failed.
func failed(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case primary(err) == codes.SQLITE_FULL, primary(err) == codes.SQLITE_IOERR, primary(err) == codes.SQLITE_BUSY, primary(err) == codes.SQLITE_READONLY:
		return fmt.Errorf("sqlite: %s: %w: %w", what, persistence.ErrUnavailable, err)
	default:
		return fmt.Errorf("sqlite: %s: %w", what, err)
	}
}

// primary is the primary result code of an error, 0 if it is not SQLite's.
func primary(err error) int {
	var e *driver.Error
	if !errors.As(err, &e) {
		return codes.SQLITE_OK
	}
	return e.Code() & 0xff
}

// inFolder says what the file system did not let us do, and where.
func (s *Store) inFolder(what string, err error) error {
	switch primary(err) {
	case codes.SQLITE_FULL:
		return fmt.Errorf("no space left for the database in %s", s.opts.Dir)
	case codes.SQLITE_READONLY, codes.SQLITE_CANTOPEN, codes.SQLITE_PERM:
		return fmt.Errorf("the database in %s cannot be opened for writing: %w", s.opts.Dir, err)
	case codes.SQLITE_NOTADB, codes.SQLITE_CORRUPT:
		return fmt.Errorf("the file %s is damaged or no database: %w", filepath.Join(s.opts.Dir, databaseFile), err)
	}
	return fmt.Errorf("%s in %s: %w", what, s.opts.Dir, err)
}
