package persistencetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"hawser/persistence/persistencetest/freeport"
)

// guard runs the server and ends it when its standard input does: that is the test process's end, however it comes.
// $1: postgres, $2: folder with everything, $3: port.
const guard = `"$1" -D "$2/data" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories="$2" -c max_connections=200 </dev/null &
server=$!
read -r _
kill -INT "$server"
wait "$server"
rm -rf "$2"`

// startServer starts a private server from local binaries, with the durability settings of a real one. It ends with this
// process and leaves nothing behind.
func startServer() (url string, err error) {
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "hawser-postgres-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	as, err := credential(dir)
	if err != nil {
		return "", err
	}
	logPath := filepath.Join(dir, "log")
	log, err := os.Create(logPath)
	if err != nil {
		return "", err
	}
	defer func() { _ = log.Close() }()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
	initdb.Stdout, initdb.Stderr, initdb.Dir, initdb.SysProcAttr = log, log, dir, as
	if err := initdb.Run(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, lastLine(logPath))
	}

	ports, _, err := freeport.Reserve("127.0.0.1", 1) // as long as the process runs
	if err != nil {
		return "", err
	}
	port := ports[0]
	server := exec.Command("/bin/sh", "-c", guard, "sh", filepath.Join(bin, "postgres"), dir, strconv.Itoa(port))
	server.Stdout, server.Stderr, server.Dir, server.SysProcAttr = log, log, dir, as
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer func() { _ = read.Close() }()
	server.Stdin = read
	if err := server.Start(); err != nil {
		_ = write.Close()
		return "", err
	}
	alive = write
	url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
	for err = usable(url); err != nil; err = usable(url) {
		if ctx.Err() != nil {
			_ = write.Close()
			return "", fmt.Errorf("the server does not answer: %s", lastLine(logPath))
		}
		pause(ctx, 50*time.Millisecond)
	}
	return url, nil
}

// alive is the end of the pipe that the guard reads. Nothing is written; it must not be collected.
var alive *os.File

// binaries is the folder of the newest initdb.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errors.New("initdb is neither in PATH nor below /usr/lib/postgresql (Debian: apt-get install postgresql)")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// credential is how to run PostgreSQL, which refuses to run as root: as another user, who is given dir.
func credential(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for the tests; the guard ends the server after them
	if os.Getuid() != 0 {
		return attr, nil
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
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return attr, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return "no log"
	}
	const most = 300
	return oneLine(errors.New(string(b[max(0, len(b)-most):])))
}
