package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reading is one scrape of one node: how many connected clients each connection had there, at some instant of [from, to].
type reading struct {
	from, to time.Time
	clients  map[string]int
}

// row is what a node showed last, twice in a row if all is well.
type row []reading

// throughout is how many clients of a connection a node showed both before and after r.
func (w row) throughout(r reading, id string) int {
	if len(w) < 2 || !r.from.After(w[0].to) || !r.to.Before(w[1].from) {
		return 0
	}
	return min(w[0].clients[id], w[1].clients[id])
}

// activations compares the readings of all nodes. A connection has a client too many when a reading of one node, and what
// others showed both before and after it, add up to more than its clientCount: no order of moves explains that. So an
// overlap is found for certain when it lasts two scrapes, and never where there is none.
type activations struct {
	shapes shapes

	mu       sync.Mutex
	rows     map[int]row // by node
	breaks   map[int]time.Time
	found    map[string]string // first description by connection
	readings int
}

func newActivations(s shapes) *activations {
	return &activations{shapes: s, rows: map[int]row{}, breaks: map[int]time.Time{}, found: map[string]string{}}
}

// interrupt says that a node could not act for a while (SIGSTOP), or is a new process: its readings before and after t are
// not of one row.
func (a *activations) interrupt(node int, t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.breaks[node] = t
	delete(a.rows, node)
}

// add takes a node's next reading.
func (a *activations) add(node int, r reading) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.from.Before(a.breaks[node]) {
		return // asked before, answered after
	}
	a.readings++
	if before := a.rows[node]; len(before) > 0 {
		a.rows[node] = row{before[len(before)-1], r}
	} else {
		a.rows[node] = row{r}
	}
	for other, w := range a.rows {
		between := w[len(w)-1]
		for id, n := range between.clients {
			if other != node && a.rows[node].throughout(between, id) > 0 && a.found[id] == "" {
				a.compare(id, n, other, between)
			}
		}
	}
}

// compare adds up the clients of a connection at the time of one reading of a node. a.mu is held.
func (a *activations) compare(id string, n, node int, r reading) {
	nodes := []string{fmt.Sprintf("n%d", node)}
	for other, w := range a.rows {
		if m := w.throughout(r, id); other != node && m > 0 {
			n += m
			nodes = append(nodes, fmt.Sprintf("n%d", other))
		}
	}
	if count := a.shapes.count(id); n > count {
		slices.Sort(nodes)
		a.found[id] = fmt.Sprintf("%s: %d clients connected at the same time, %d allowed, at %s, %s",
			id, n, count, strings.Join(nodes, " and "), r.from.Format("15:04:05.000"))
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

// at returns the connections of which a node showed a client last.
func (a *activations) at(node int) (out []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.rows[node]; len(w) > 0 {
		for id := range w[len(w)-1].clients {
			out = append(out, id)
		}
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
		clients, err := scrapeOnce(ctx, client, "http://"+n.place.metrics+"/metrics?name[]=connection_client")
		to := time.Now()
		if err == nil {
			a.add(n.index, reading{from, to, clients})
		}
		wait = max(100*time.Millisecond, min(9*to.Sub(from), time.Second))
	}
}

func scrapeOnce(ctx context.Context, client *http.Client, url string) (map[string]int, error) {
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

// parseMetrics reads the ids whose connection_client is at least 1, and how much it is, from Prometheus' text format. Ids are
// [a-zA-Z0-9-_:], so nothing in them is escaped.
func parseMetrics(r io.Reader) (map[string]int, error) {
	clients := map[string]int{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), "connection_client{")
		if !ok {
			continue
		}
		labels, value, ok := strings.Cut(rest, "} ")
		n, err := strconv.Atoi(value)
		if !ok || err != nil || n < 1 {
			continue
		}
		for label := range strings.SplitSeq(labels, ",") {
			if id, ok := strings.CutPrefix(label, `id="`); ok {
				clients[strings.TrimSuffix(id, `"`)] = n
			}
		}
	}
	return clients, lines.Err()
}
