package monitor

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"time"

	"hawser/messages"
)

// metricNames are the names in answers, labels and log entries.
var metricNames = [numMetrics]string{
	Consumed: "consumed", Mapped: "mapped", Dropped: "dropped", Enforced: "enforced", Acknowledged: "acknowledged",
	Throttled: "throttled", Dispatched: "dispatched", Filtered: "filtered", Published: "published", Other: "other",
}

// The metrics of each direction; all of them are in every answer (piggyback.md 4.13).
var (
	inboundMetrics  = []Metric{Consumed, Mapped, Other, Dropped, Enforced, Acknowledged, Throttled}
	outboundMetrics = []Metric{Dispatched, Filtered, Mapped, Other, Dropped, Published, Acknowledged}
)

// Instant is a time that renders as Java's Instant.toString does: UTC, 0, 3, 6 or 9 digits of fraction (piggyback.md 0).
type Instant time.Time

// String renders the instant.
func (i Instant) String() string { return messages.FormatInstant(time.Time(i)) }

// Time returns the instant as a time.Time.
func (i Instant) Time() time.Time { return time.Time(i) }

// MarshalText makes the instant a JSON string.
func (i Instant) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// Windows are the counts of one metric with one outcome; LastMessageAt nil renders as null.
type Windows struct {
	PT1M          int64    `json:"PT1M"`
	PT1H          int64    `json:"PT1H"`
	PT24H         int64    `json:"PT24H"`
	LastMessageAt *Instant `json:"lastMessageAt"`
}

func (w Windows) plus(o Windows) Windows {
	w.PT1M, w.PT1H, w.PT24H = w.PT1M+o.PT1M, w.PT1H+o.PT1H, w.PT24H+o.PT24H
	if w.LastMessageAt == nil || o.LastMessageAt != nil && time.Time(*o.LastMessageAt).After(time.Time(*w.LastMessageAt)) {
		w.LastMessageAt = o.LastMessageAt
	}
	return w
}

// Counts are the two outcomes of a metric.
type Counts struct {
	Success Windows `json:"success"`
	Failure Windows `json:"failure"`
}

// Direction maps the metric names of a direction to their counts; nil renders as null.
type Direction map[string]Counts

func (d Direction) plus(o Direction) Direction {
	if d == nil {
		return o
	}
	if o == nil {
		return d
	}
	sum := maps.Clone(d)
	for name, c := range o {
		s := sum[name]
		sum[name] = Counts{Success: s.Success.plus(c.Success), Failure: s.Failure.plus(c.Failure)}
	}
	return sum
}

func (d Direction) failures() bool {
	for _, c := range d {
		if c.Failure.PT1M > 0 || c.Failure.PT1H > 0 || c.Failure.PT24H > 0 {
			return true
		}
	}
	return false
}

// Metrics is what retrieveConnectionMetrics answers (piggyback.md 4.13). The zero value is the answer of a connection
// without a running client. Addresses are the configured ones, "" is "<empty>".
type Metrics struct {
	Inbound, Outbound Direction
	Sources, Targets  map[string]Direction
}

// ContainsFailures reports whether any failure was counted in either direction.
func (m Metrics) ContainsFailures() bool { return m.Inbound.failures() || m.Outbound.failures() }

// MarshalJSON renders the members containsFailures, connectionMetrics, sourceMetrics and targetMetrics.
func (m Metrics) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // "<empty>" is for people to read
	err := enc.Encode(map[string]any{
		"containsFailures":  m.ContainsFailures(),
		"connectionMetrics": map[string]Direction{"inbound": m.Inbound, "outbound": m.Outbound},
		"sourceMetrics":     map[string]any{"addressMetrics": m.Sources},
		"targetMetrics":     map[string]any{"addressMetrics": m.Targets},
	})
	return b.Bytes(), err
}

// MergeMetrics adds up the answers of several clients: counts per metric and window, the latest lastMessageAt.
func MergeMetrics(parts ...Metrics) Metrics {
	var sum Metrics
	for _, p := range parts {
		sum.Inbound, sum.Outbound = sum.Inbound.plus(p.Inbound), sum.Outbound.plus(p.Outbound)
		sum.Sources, sum.Targets = mergeAddresses(sum.Sources, p.Sources), mergeAddresses(sum.Targets, p.Targets)
	}
	return sum
}

func mergeAddresses(a, b map[string]Direction) map[string]Direction {
	if a == nil {
		return b
	}
	sum := maps.Clone(a)
	for address, d := range b {
		sum[address] = sum[address].plus(d)
	}
	return sum
}

// Metrics reads all counters as seen at now. Without a source, Inbound and Sources are nil; "_responses" is always there.
func (c *Connection) Metrics(now time.Time) Metrics {
	c.Responses()
	nanos := now.UnixNano()
	inbound, outbound := c.all()
	m := Metrics{}
	m.Inbound, m.Sources = read(inbound, inboundMetrics, nanos)
	m.Outbound, m.Targets = read(outbound, outboundMetrics, nanos)
	return m
}

func read(scopes []*Scope, metrics []Metric, now int64) (Direction, map[string]Direction) {
	if len(scopes) == 0 {
		return nil, nil
	}
	var sum Direction
	addresses := make(map[string]Direction, len(scopes))
	for _, s := range scopes {
		d := make(Direction, len(metrics))
		for _, m := range metrics {
			var counts Counts
			if success := s.counters[m][1].Load(); success != nil {
				counts.Success = success.read(now, m)
			}
			if failure := s.counters[m][0].Load(); failure != nil {
				counts.Failure = failure.read(now, m)
			}
			d[metricNames[m]] = counts
		}
		sum = sum.plus(d)
		address := s.address
		if address == "" {
			address = "<empty>"
		}
		addresses[address] = d
	}
	return sum, addresses
}

// Reset makes all counts 0 and every lastMessageAt null (decision D10). Prometheus counters go on.
func (c *Connection) Reset() {
	inbound, outbound := c.all()
	for _, scopes := range [][]*Scope{inbound, outbound} {
		for _, s := range scopes {
			for m := range s.counters {
				for o := range s.counters[m] {
					if counter := s.counters[m][o].Load(); counter != nil {
						counter.reset()
					}
				}
			}
		}
	}
}

// Priority is the number of the journal tag priority-<n>: messages consumed and published successfully within PT24H
// (piggyback.md 5.7), at most 2^31−1.
func (m Metrics) Priority() int {
	n := m.Inbound[metricNames[Consumed]].Success.PT24H + m.Outbound[metricNames[Published]].Success.PT24H
	return int(min(n, math.MaxInt32))
}
