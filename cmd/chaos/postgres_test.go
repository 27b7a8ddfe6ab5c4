package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestPostgresComesAndGoes: what was committed is there after a crash and after an orderly restart.
func TestPostgresComesAndGoes(t *testing.T) {
	s := newSpawner()
	defer s.close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	for _, d := range []string{dir, dir + "/.."} { // the server's user must get there
		if err := passable(d); err != nil {
			t.Fatal(err)
		}
	}
	p, err := startPostgres(ctx, s, dir+"/postgres", dir, []string{"127.0.0.1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	place, err := p.fresh(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.exec(ctx, place, `create table journal(pid text, seq_nr bigint, epoch bigint, type text, payload jsonb, request_id text, created_at timestamptz default now())`); err != nil {
		t.Fatal(err)
	}
	for i, crash := range []bool{true, false} {
		err := p.exec(ctx, place, `insert into journal values ('connection:c1-00', $1, 7, 'connectivity.events:connectionModified',
			'{"connection":{"name":"n"},"__hh":{"correlation-id":"op"}}', null)`, i+1)
		if err != nil {
			t.Fatal(err)
		}
		p.down(crash)
		if p.answers(ctx) == nil {
			t.Fatal("it answers after its end")
		}
		if err := p.up(ctx); err != nil {
			t.Fatal(err)
		}
	}
	events, err := readJournal(ctx, p, place, "c1-%")
	if err != nil || len(events) != 2 {
		t.Fatalf("%+v, %v", events, err)
	}
	e := events[1]
	if e.pid != "connection:c1-00" || e.seq != 2 || e.epoch != 7 || e.name != "n" || e.correlation != "op" || e.requestID != "" {
		t.Fatalf("%+v", e)
	}
	failed := errors.New("as told")
	if err := p.query(ctx, place, `select 1`, func(pgx.Rows) error { return failed }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
}
