package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// spawner starts child processes from one OS thread that lives as long as it does: the kernel ends a child when the thread
// that made it ends (Pdeathsig), which is how nothing stays behind when this program is killed.
type spawner struct {
	starts chan func()
	done   chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{starts: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for start := range s.starts {
			start()
		}
	}()
	return s
}

// close ends the thread; all processes must have ended.
func (s *spawner) close() {
	close(s.starts)
	<-s.done
}

// program is what to start.
type program struct {
	name       string
	args       []string // args[0] is the executable
	env        []string
	dir        string
	log        string // file that output is appended to
	end        syscall.Signal
	credential *syscall.Credential
}

// process is a running child in a process group of its own, so that a Ctrl-C is this program's alone.
type process struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{}

	mu       sync.Mutex
	expected bool // its end was asked for
}

func (s *spawner) start(p program) (*process, error) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = p.env, p.dir, log, log
	end := p.end
	if end == 0 {
		end = syscall.SIGKILL
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: end, Credential: p.credential}
	started := make(chan error, 1)
	s.starts <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	child := &process{name: p.name, cmd: cmd, exited: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(child.exited) }()
	return child, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// running reports whether the process has not ended.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// signal sends a signal; one that ends the process makes its end expected.
func (p *process) signal(sig syscall.Signal) {
	if sig != syscall.SIGSTOP && sig != syscall.SIGCONT {
		p.mu.Lock()
		p.expected = true
		p.mu.Unlock()
	}
	_ = p.cmd.Process.Signal(sig)
}

// unexpected reports whether the process ended although nobody asked for it.
func (p *process) unexpected() bool {
	if p == nil || p.running() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.expected
}

// wait reports whether the process ended within d.
func (p *process) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
		return false
	}
}

// stop ends the process, by force when sig does not end it within d.
func (p *process) stop(sig syscall.Signal, d time.Duration) {
	if !p.running() {
		return
	}
	p.signal(sig)
	if !p.wait(d) {
		p.signal(syscall.SIGKILL)
		<-p.exited
	}
}
