package monitor

import (
	"maps"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// timeBuckets are the upper bounds, in seconds, of all timers of operations.md 9.
var timeBuckets = [...]float64{.001, .003, .005, .01, .025, .05, .075, .1, .15, .2, .25, .3, .35, .4, .45, .5, .75, 1, 1.25, 1.5, 1.75,
	2, 2.5, 3, 5, 7.5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60}

// Segment is a part of the payload mapping that is timed by itself.
type Segment uint8

// The segments of message_mapping_seconds.
const (
	SegmentOverall  Segment = iota // all mappers of one message
	SegmentPayload                 // one mapper
	SegmentProtocol                // what makes an envelope a signal, or a signal an envelope
)

var segmentNames = [...]string{"overall", "payload", "protocol"}

// timed names one timer of a connection.
type timed struct {
	mapper              string
	segment             Segment
	acks                bool // arrival to settlement; else the payload mapping
	outbound            bool
	success, redelivery bool
}

// timer is a histogram. Observing is wait-free.
type timer struct {
	counts [len(timeBuckets) + 1]atomic.Uint64 // by bucket, not cumulated; the last is beyond all bounds
	nanos  atomic.Int64
}

func (t *timer) observe(d time.Duration) {
	seconds, i := d.Seconds(), 0
	for i < len(timeBuckets) && seconds > timeBuckets[i] {
		i++
	}
	t.counts[i].Add(1)
	t.nanos.Add(int64(d))
}

// timer returns the timer of a connection, made when it is new.
func (c *Connection) timer(name timed) *timer {
	if all := c.timers.Load(); all != nil {
		if t := (*all)[name]; t != nil {
			return t
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	more := map[timed]*timer{}
	if all := c.timers.Load(); all != nil {
		if t := (*all)[name]; t != nil {
			return t
		}
		more = maps.Clone(*all)
	}
	t := &timer{}
	more[name] = t
	c.timers.Store(&more)
	return t
}

// MappingTook says how long a segment of the payload mapping of one message took; mapper is "" but for SegmentPayload.
func (c *Connection) MappingTook(outbound bool, s Segment, mapper string, success bool, took time.Duration) {
	c.timer(timed{outbound: outbound, segment: s, mapper: mapper, success: success}).observe(took)
}

// Arrived says that a broker message is there that has to be settled; each is followed by one Settled or Unsettled.
func (s *Scope) Arrived() { s.conn.unsettled.Add(1) }

// Settled says how a broker message was settled, and how long after its arrival.
func (s *Scope) Settled(success, redelivery bool, took time.Duration) {
	s.conn.unsettled.Add(-1)
	s.conn.timer(timed{acks: true, success: success, redelivery: redelivery}).observe(took)
}

// Unsettled says that a broker message never will be settled here.
func (s *Scope) Unsettled() { s.conn.unsettled.Add(-1) }

// The series of timers.
var (
	mappingDesc = prometheus.NewDesc("message_mapping_seconds", "Duration of the payload mapping of one message.",
		[]string{"ditto_connection_id", "ditto_connection_type", "direction", "segment", "mapper", "ditto_mapping_success"}, nil)
	acksDesc = prometheus.NewDesc("connectivity_ack_handling_seconds", "From the arrival of a message to its settlement.",
		[]string{"ditto_connection_id", "ditto_connection_type", "ditto_ack_success", "ditto_ack_redeliver", "segment"}, nil)
	unsettledDesc = prometheus.NewDesc("connectivity_ack_handling_counter", "Messages that wait for their settlement.",
		[]string{"ditto_connection_id", "ditto_connection_type"}, nil)
)

func (c *Connection) collectTimers(ch chan<- prometheus.Metric, typ string) {
	ch <- prometheus.MustNewConstMetric(unsettledDesc, prometheus.GaugeValue, float64(c.unsettled.Load()), c.id, typ)
	all := c.timers.Load()
	if all == nil {
		return
	}
	for name, t := range *all {
		success := strconv.FormatBool(name.success)
		if name.acks {
			ch <- t.metric(acksDesc, c.id, typ, success, strconv.FormatBool(name.redelivery), segmentNames[SegmentOverall])
			continue
		}
		direction := "inbound"
		if name.outbound {
			direction = "outbound"
		}
		ch <- t.metric(mappingDesc, c.id, typ, direction, segmentNames[name.segment], name.mapper, success)
	}
}

func (t *timer) metric(desc *prometheus.Desc, labels ...string) prometheus.Metric {
	buckets, count := make(map[float64]uint64, len(timeBuckets)), uint64(0)
	for i, bound := range timeBuckets {
		count += t.counts[i].Load()
		buckets[bound] = count
	}
	count += t.counts[len(timeBuckets)].Load()
	return prometheus.MustNewConstHistogram(desc, count, time.Duration(t.nanos.Load()).Seconds(), buckets, labels...)
}
