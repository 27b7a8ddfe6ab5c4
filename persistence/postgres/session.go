package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"hawser/persistence"
)

// dialTimeout bounds one attempt to open a session, name resolution and authentication included.
const dialTimeout = 3 * time.Second

// settings of every session: what the statements of this package rely on, whatever the server's defaults are.
var sessionSettings = map[string]string{
	"default_transaction_isolation": "read committed",
	"client_min_messages":           "warning",
}

// laneSettings keep the plan of the batch statements: index look-ups however small or unanalysed the tables were when it
// was made, never planned again, never compiled.
var laneSettings = map[string]string{
	"plan_cache_mode": "force_generic_plan",
	"enable_seqscan":  "off",
	"jit":             "off",
}

// sessionConfig is the configuration of a session of its own. role shows in pg_stat_activity.
func (s *Store) sessionConfig(role string, statementTimeout time.Duration, settings map[string]string) *pgx.ConnConfig {
	c := s.base.Copy()
	maps.Copy(c.RuntimeParams, sessionSettings)
	maps.Copy(c.RuntimeParams, settings)
	c.RuntimeParams["statement_timeout"] = milliseconds(statementTimeout)
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "hawser " + role
	}
	return c
}

// connect opens a session.
func connect(ctx context.Context, c *pgx.ConnConfig) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return pgx.ConnectConfig(ctx, c)
}

// parse reads the URL and puts the store's dialer, timeouts and settings into it. No error repeats the URL: it may hold a
// password (decision O6).
func parse(o Options) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return nil, errors.New("postgres: the connection URL cannot be parsed, want postgres://user:password@host:port/database?…")
	}
	c.ConnectTimeout = dialTimeout
	c.DialFunc = o.Dial
	if o.Dial == nil {
		c.DialFunc = (&net.Dialer{
			Timeout: dialTimeout,
			KeepAliveConfig: net.KeepAliveConfig{
				Enable: true, Idle: o.TTL, Interval: max(time.Second, o.TTL/5), Count: 3,
			},
			Control: userTimeout(o.TTL),
		}).DialContext
	}
	// The server, too, must notice that we are gone: a batch of a dead node would hold up its burial.
	c.RuntimeParams["tcp_user_timeout"] = milliseconds(o.TTL)
	c.RuntimeParams["tcp_keepalives_idle"] = seconds(o.TTL)
	c.RuntimeParams["tcp_keepalives_interval"] = seconds(max(time.Second, o.TTL/5))
	c.RuntimeParams["tcp_keepalives_count"] = "3"
	if c.ValidateConnect == nil { // of several hosts only the primary will do
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	c.AfterConnect = durable
	return c, nil
}

// durable makes commits of this session wait for the disk where the server's default says they need not (decision O4). A
// stronger setting, such as remote_apply, stays.
func durable(ctx context.Context, c *pgconn.PgConn) error {
	_, err := c.Exec(ctx, `select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'`).ReadAll()
	return err
}

// session is one database session that is opened when it is needed and dropped when it breaks. Not safe for concurrent use.
type session struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn
	number int64 // counts the sessions: two reads with the same number came from the same one
}

// open connects unless the session is open.
func (s *session) open(ctx context.Context) (*pgx.Conn, error) {
	if s.conn != nil && !s.conn.IsClosed() {
		return s.conn, nil
	}
	s.drop()
	conn, err := connect(ctx, s.config)
	if err != nil {
		return nil, err
	}
	s.conn = conn
	s.number++
	return conn, nil
}

// drop ends the session without waiting for the server.
func (s *session) drop() {
	if s.conn == nil {
		return
	}
	closeNow(s.conn)
	s.conn = nil
}

// closeNow closes a session; what is wrong with it no longer matters.
func closeNow(c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
	select { // a broken session is closed by a goroutine of the driver
	case <-c.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}

// failed says what was attempted and, for errors of the session rather than of the statement, that the store is unavailable.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || fatal(answer) {
		return fmt.Errorf("postgres: %s: %w: %w", what, persistence.ErrUnavailable, err)
	}
	return fmt.Errorf("postgres: %s: %w", what, err)
}

// fatal reports an answer that ends the session.
func fatal(e *pgconn.PgError) bool {
	s := e.SeverityUnlocalized
	if s == "" {
		s = e.Severity
	}
	return s == "FATAL" || s == "PANIC"
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
