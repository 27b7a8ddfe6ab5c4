package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// broker is a private Mosquitto on the loopback. The nodes reach it through a tap.
type broker struct {
	process *process
	address string
}

// startBroker starts Mosquitto with queues that lose nothing: what it acknowledged it keeps for sessions that are away.
func startBroker(ctx context.Context, s *spawner, dir, logs string) (*broker, error) {
	program_, err := exec.LookPath("mosquitto")
	if err != nil {
		program_ = "/usr/sbin/mosquitto"
		if _, err := os.Stat(program_); err != nil {
			return nil, fmt.Errorf("mosquitto is neither in PATH nor in /usr/sbin (Debian: apt-get install mosquitto)")
		}
	}
	ports, err := freePorts("127.0.0.1", 1)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\nmax_queued_messages 0\nmax_inflight_messages 100\n"+
		"log_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\nlog_timestamp_format %%H:%%M:%%S\n", ports[0])
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	b := &broker{address: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	b.process, err = s.start(program{name: "mosquitto", args: []string{program_, "-c", file}, dir: dir, log: filepath.Join(logs, "mosquitto.log"), env: os.Environ()})
	if err != nil {
		return nil, err
	}
	err = eventually(ctx, 20*time.Second, "Mosquitto listens", func() error {
		if !b.process.running() {
			return errFinal{fmt.Errorf("it ended, see its log")}
		}
		c, err := net.DialTimeout("tcp", b.address, time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *broker) close() { b.process.stop(syscall.SIGTERM, 5*time.Second) }
