package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// reading is one scrape of one node: which connections had a connected client there, at some instant of [from, to].
type reading struct {
	from, to time.Time
	ids      map[string]bool
}

// activations compares the readings of all nodes. A connection is active twice when one node shows its client in two
// readings in a row and another node shows it in a reading that lies wholly between them: no order of moves explains that.
// So an overlap is found for certain when it lasts two scrapes, and never where there is none.
type activations struct {
	mu       sync.Mutex
	last     map[int]reading // by node
	breaks   map[int]time.Time
	found    map[string]string // first description by connection
	readings int
}

func newActivations() *activations {
	return &activations{last: map[int]reading{}, breaks: map[int]time.Time{}, found: map[string]string{}}
}

// interrupt says that a node could not act for a while (SIGSTOP), or is a new process: its readings before and after t are
// not of one row.
func (a *activations) interrupt(node int, t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.breaks[node] = t
	delete(a.last, node)
}

// add takes a node's next reading.
func (a *activations) add(node int, r reading) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.from.Before(a.breaks[node]) {
		return // asked before, answered after
	}
	a.readings++
	before, row := a.last[node]
	a.last[node] = r
	if !row {
		return
	}
	for other, between := range a.last {
		if other == node || !between.from.After(before.to) || !between.to.Before(r.from) {
			continue
		}
		for id := range between.ids {
			if before.ids[id] && r.ids[id] && a.found[id] == "" {
				a.found[id] = fmt.Sprintf("%s: connected at n%d and n%d at the same time, %s", id, node, other, between.from.Format("15:04:05.000"))
			}
		}
	}
}

// taken returns what was found since the last call.
func (a *activations) taken() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, text := range a.found {
		out = append(out, text)
	}
	a.found = map[string]string{}
	return out
}

// at returns the connections whose client a node showed last.
func (a *activations) at(node int) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for id := range a.last[node].ids {
		out = append(out, id)
	}
	return out
}

// scrape reads a node's metrics every 100 ms until ctx ends, less often where one reading takes longer than 10 ms: watching
// must not become the load.
func (a *activations) scrape(ctx context.Context, n *node) {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	wait := 100 * time.Millisecond
	for pause(ctx, wait) {
		if !n.up() {
			continue
		}
		from := time.Now()
		ids, err := scrapeOnce(ctx, client, "http://"+n.place.metrics+"/metrics?name[]=connection_client")
		to := time.Now()
		if err == nil {
			a.add(n.index, reading{from, to, ids})
		}
		wait = max(100*time.Millisecond, min(9*to.Sub(from), time.Second))
	}
}

func scrapeOnce(ctx context.Context, client *http.Client, url string) (map[string]bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return parseMetrics(resp.Body)
}

// parseMetrics reads the ids whose connection_client is at least 1 from Prometheus' text format. Ids are
// [a-zA-Z0-9-_:], so nothing in them is escaped.
func parseMetrics(r io.Reader) (map[string]bool, error) {
	ids := map[string]bool{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), "connection_client{")
		if !ok {
			continue
		}
		labels, value, ok := strings.Cut(rest, "} ")
		if !ok || value == "0" {
			continue
		}
		for label := range strings.SplitSeq(labels, ",") {
			if id, ok := strings.CutPrefix(label, `id="`); ok {
				ids[strings.TrimSuffix(id, `"`)] = true
			}
		}
	}
	return ids, lines.Err()
}
