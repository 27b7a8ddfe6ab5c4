//go:build unix

package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockFile is the file in the data folder that a running node holds.
const lockFile = "node.lock"

// Lock is the exclusive hold of a data folder, whatever store the node uses: whoever has it knows that the process that had
// it before is dead, and may bury the member that it names (design.md 3.2, rule 4b). The kernel gives it back when the
// process dies.
type Lock struct {
	file   *os.File
	member string
}

// ErrInUse says that another process holds a data folder.
var ErrInUse = errors.New("in use by another hawser")

// AcquireLock makes the folder if it is not there and takes its lock. It does not wait: a folder in use is an error.
func AcquireLock(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder %s cannot be made: %w", dir, bare(err))
	}
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data folder %s is not writable: %w", dir, bare(err))
	}
	content, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("the lock of the data folder %s cannot be read: %w", dir, bare(err))
	}
	member, process, _ := strings.Cut(strings.TrimRight(string(content), "\n"), "\n")
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the data folder %s is %w (process %s)", dir, ErrInUse, process)
		}
		return nil, fmt.Errorf("the data folder %s cannot be locked: %w", dir, err)
	}
	l := &Lock{file: file, member: member}
	if err := l.write(member); err != nil {
		_ = l.Release()
		return nil, fmt.Errorf("the data folder %s is not writable: %w", dir, bare(err))
	}
	return l, nil
}

// Member is the member that the file named last: before SetMember the dead predecessor, "" if there was none.
func (l *Lock) Member() string { return l.member }

// SetMember names the member that holds the folder from now on.
func (l *Lock) SetMember(id string) error {
	if err := l.write(id); err != nil {
		return fmt.Errorf("the lock file %s cannot be written: %w", l.file.Name(), bare(err))
	}
	l.member = id
	return nil
}

// Release gives the folder back. The file stays: removing it would let two processes hold two files of the same name.
func (l *Lock) Release() error { return l.file.Close() }

func (l *Lock) write(member string) error {
	content := member + "\n" + strconv.Itoa(os.Getpid()) + "\n"
	if _, err := l.file.WriteAt([]byte(content), 0); err != nil {
		return err
	}
	if err := l.file.Truncate(int64(len(content))); err != nil {
		return err
	}
	return l.file.Sync()
}

// bare is the cause without the path, which the caller's sentence has already.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
