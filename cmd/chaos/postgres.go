package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres is the database server of the cluster: a private one that this program may stop, or a given one.
type postgres struct {
	start   func() (*process, error) // nil: a given server
	process *process
	admin   string // URL for this program
	hosts   []string
	port    string
	dropped []string // what close must drop on a given server
}

// startPostgres makes a private server from local binaries, with the durability of a real one, listening on hosts. Trust
// authentication holds for this machine's own addresses and subnets only.
func startPostgres(ctx context.Context, s *spawner, dir, logs string, hosts, trusted []string) (*postgres, error) {
	initdb, err := serverBinary("initdb")
	if err != nil {
		return nil, err
	}
	server, err := serverBinary("postgres")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	credential, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	cmd := exec.CommandContext(ctx, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Setpgid: true, Credential: credential}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, lastLines(string(out), 3))
	}
	var rules strings.Builder
	for _, subnet := range trusted {
		fmt.Fprintf(&rules, "host all all %s trust\n", subnet)
	}
	hba, err := os.OpenFile(filepath.Join(data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = hba.WriteString(rules.String())
	if err := errors.Join(err, hba.Close()); err != nil {
		return nil, err
	}
	ports, err := freePorts(hosts[0], 1)
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(ports[0])
	p := &postgres{hosts: hosts, port: port, admin: fmt.Sprintf("postgres://postgres@%s:%s/postgres", hosts[0], port)}
	p.start = func() (*process, error) {
		return s.start(program{name: "postgres", log: filepath.Join(logs, "postgres.log"), dir: dir, end: syscall.SIGQUIT, credential: credential, env: os.Environ(),
			args: []string{server, "-D", data, "-p", port, "-c", "listen_addresses=" + strings.Join(hosts, ","),
				"-c", "unix_socket_directories=" + dir, "-c", "max_connections=300", "-c", "shared_buffers=64MB"}})
	}
	return p, p.up(ctx)
}

// givenPostgres uses a server that runs already; it cannot be stopped.
func givenPostgres(ctx context.Context, given string) (*postgres, error) {
	u, err := url.Parse(given)
	if err != nil {
		return nil, errors.New("-postgres is no URL")
	}
	p := &postgres{admin: given, hosts: []string{u.Hostname()}, port: u.Port()}
	if p.port == "" {
		p.port = "5432"
	}
	return p, p.answers(ctx)
}

// own reports whether the server may be stopped.
func (p *postgres) own() bool { return p.start != nil }

// up starts the private server and waits until it answers.
func (p *postgres) up(ctx context.Context) error {
	child, err := p.start()
	if err != nil {
		return err
	}
	p.process = child
	return eventually(ctx, time.Minute, "PostgreSQL answers", func() error {
		if !child.running() {
			return errFinal{errors.New("PostgreSQL ended, see its log")}
		}
		return p.answers(ctx)
	})
}

// down stops the private server: fast (sessions are ended, data is flushed) or at once, as a crash does.
func (p *postgres) down(crash bool) {
	sig := syscall.SIGINT
	if crash {
		sig = syscall.SIGQUIT
	}
	p.process.stop(sig, 30*time.Second)
}

func (p *postgres) answers(ctx context.Context) error {
	return p.query(ctx, p.admin, `select 1`, func(pgx.Rows) error { return nil })
}

// fresh makes an empty place for one cluster and returns the URL of it that this program uses: a database of the private
// server, a schema of a given one.
func (p *postgres) fresh(ctx context.Context, name string) (string, error) {
	if p.own() {
		u, _ := url.Parse(p.admin)
		u.Path = "/" + name
		return u.String(), p.exec(ctx, p.admin, `create database `+name)
	}
	p.dropped = append(p.dropped, `drop schema if exists `+name+` cascade`)
	u, err := url.Parse(p.admin)
	if err != nil {
		return "", errors.New("-postgres is no URL")
	}
	q := u.Query()
	q.Set("options", strings.TrimSpace(q.Get("options")+" -c search_path="+name))
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String(), p.exec(ctx, p.admin, `create schema `+name)
}

// at is a URL of fresh as seen at another address.
func (p *postgres) at(place, address string) string {
	u, _ := url.Parse(place)
	u.Host = address
	return u.String()
}

// close stops a private server and cleans a given one.
func (p *postgres) close() {
	if p.own() {
		if p.process != nil {
			p.down(true)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, statement := range p.dropped {
		if err := p.exec(ctx, p.admin, statement); err != nil {
			fmt.Fprintln(os.Stderr, "chaos: cleaning up:", err)
		}
	}
}

// query runs one statement in a session of its own: sessions do not outlive the faults of a scenario.
func (p *postgres) query(ctx context.Context, place, statement string, row func(pgx.Rows) error, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, place)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (p *postgres) exec(ctx context.Context, place, statement string, args ...any) error {
	return p.query(ctx, place, statement, func(pgx.Rows) error { return nil }, args...)
}

// serverBinary finds a program of PostgreSQL's server, which is often in no PATH.
func serverBinary(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", fmt.Errorf("%s is neither in PATH nor below /usr/lib/postgresql (Debian: apt-get install postgresql)", name)
	}
	return found[len(found)-1], nil
}

// unprivileged is whom PostgreSQL runs as, given dir: nil unless this is root, as whom it refuses to run.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}
