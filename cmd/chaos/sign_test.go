package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A sign is what a node logs from now on, not what it has logged before, and may come in pieces.
func TestSign(t *testing.T) {
	n := &node{log: filepath.Join(t.TempDir(), "n1.log")}
	write := func(text string) {
		f, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := n.waitFor("claimed shards") // of a process that has not started yet
	write("msg=\"claimed shards\"\n")
	if err := s.wait(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	s = n.waitFor("claimed shards")
	if err := s.wait(t.Context(), 20*time.Millisecond); err == nil {
		t.Error("what it has said before is taken for a sign")
	}
	ended := make(chan error, 1)
	go func() { ended <- s.wait(context.Background(), 10*time.Second) }()
	write("msg=\"claimed ")
	select {
	case err := <-ended:
		t.Fatal("half a sign is taken for one: ", err)
	case <-time.After(20 * time.Millisecond):
	}
	write("shards\"\n")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
