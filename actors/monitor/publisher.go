package monitor

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
	"github.com/prometheus/client_golang/prometheus"
)

// PublisherOptions are runtime.md 12.4 and operations.md 10.3.
type PublisherOptions struct {
	Host string
	Port int
	TLS  bool
	// Tag of every record; "" for connection:<connectionId>.
	Tag string
	// Levels are the levels that are published: success, failure.
	Levels []string
	// Details says whether the texts name the headers of the message.
	Details bool
	// Context are further members of each record.
	Context map[string]string
	// Instance is the instance id of this node, asked for each record.
	Instance       func() string
	ConnectTimeout time.Duration // of connecting and of one write
	ReadTimeout    time.Duration // of an acknowledgement
	Ack            bool
	MaxBuffer      int           // bytes of entries that wait
	Retries        int           // attempts after the first
	RetryBase      time.Duration // before the second attempt, growing by half
	RetryMax       time.Duration
	Flush          time.Duration // what Close waits for entries that are not sent yet
	Log            *slog.Logger
}

// Publisher sends connection log entries to a Fluentd, whether or not the logs of their connections are enabled. It never
// blocks whoever logs: what finds the buffer full, or cannot be sent in several attempts, is lost, counted, and named in the
// log at most once a minute. One goroutine sends; Close ends it.
type Publisher struct {
	opts             PublisherOptions
	log              *slog.Logger
	success, failure bool

	mu    sync.Mutex
	queue []published
	bytes int
	some  chan struct{} // of capacity 1: the queue is not empty

	closing chan struct{}
	done    chan struct{}
	once    sync.Once
	lost    atomic.Int64
	gone    prometheus.CounterFunc // shows lost
	sent    prometheus.Counter
}

// published is an entry that waits to be sent.
type published struct {
	connectionID string
	entry        LogEntry
	size         int
}

// overhead is what an entry costs beside its texts.
const overhead = 256

// NewPublisher starts a publisher.
func NewPublisher(o PublisherOptions) *Publisher {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	p := &Publisher{
		opts: o, log: o.Log, some: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{Name: "connection_log_publisher_sent_total", Help: "Connection log entries sent to Fluentd."}),
	}
	p.gone = prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "connection_log_publisher_lost_total", Help: "Connection log entries that did not reach Fluentd."},
		func() float64 { return float64(p.lost.Load()) })
	for _, level := range o.Levels {
		p.success = p.success || level == "success"
		p.failure = p.failure || level == "failure"
	}
	go p.run()
	return p
}

// Describe implements prometheus.Collector.
func (p *Publisher) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(p, ch) }

// Collect implements prometheus.Collector.
func (p *Publisher) Collect(ch chan<- prometheus.Metric) {
	p.gone.Collect(ch)
	p.sent.Collect(ch)
}

func (p *Publisher) wants(success bool) bool { return success && p.success || !success && p.failure }

// publish puts an entry into the buffer.
func (p *Publisher) publish(e *located) {
	entry := e.render(p.opts.Details)
	size := overhead + len(entry.Message) + len(entry.CorrelationID) + len(entry.Address) + len(entry.EntityID)
	p.mu.Lock()
	full := p.bytes+size > p.opts.MaxBuffer
	if !full {
		p.bytes += size
		p.queue = append(p.queue, published{connectionID: e.scope.conn.id, entry: entry, size: size})
	}
	p.mu.Unlock()
	if full {
		p.lost.Add(1)
		return
	}
	select {
	case p.some <- struct{}{}:
	default:
	}
}

// take empties the buffer; its bytes count until done.
func (p *Publisher) take() []published {
	p.mu.Lock()
	defer p.mu.Unlock()
	batch := p.queue
	p.queue = nil
	return batch
}

func (p *Publisher) release(size int) {
	p.mu.Lock()
	p.bytes -= size
	p.mu.Unlock()
}

// Close sends what is waiting, for as long as Flush allows, and ends the publisher. Idempotent.
func (p *Publisher) Close() {
	p.once.Do(func() { close(p.closing) })
	<-p.done
}

func (p *Publisher) run() {
	defer close(p.done)
	s := sender{publisher: p}
	defer s.close()
	defer s.admit(0)
	for {
		select {
		case <-p.some:
		case <-p.closing:
			s.until = time.Now().Add(p.opts.Flush)
			s.send(p.take())
			return
		}
		s.send(p.take())
	}
}

// sender is the sending goroutine's own.
type sender struct {
	publisher *Publisher
	link      *fluent.Fluent
	down      bool      // the last attempt failed
	until     time.Time // once closing: when to give up
	admitted  int64     // entries whose loss the log has named
	at        time.Time // when it last did
}

// admitEvery is how often the log names losses at most.
const admitEvery = time.Minute

// admit says in the log how many entries have been lost since it last did, unless that was less than every ago.
func (s *sender) admit(every time.Duration) {
	if lost := s.publisher.lost.Load(); lost > s.admitted && time.Since(s.at) >= every {
		s.publisher.log.Warn("connection log entries are lost", "entries", lost-s.admitted)
		s.admitted, s.at = lost, time.Now()
	}
}

func (s *sender) send(batch []published) {
	p := s.publisher
	for _, e := range batch {
		if s.try(e) {
			p.sent.Inc()
		} else {
			p.lost.Add(1)
		}
		p.release(e.size)
		s.admit(admitEvery)
	}
}

// try sends one entry, in several attempts; false: it is lost.
func (s *sender) try(e published) bool {
	o := &s.publisher.opts
	pause := o.RetryBase
	for attempt := 0; ; attempt++ {
		if !s.until.IsZero() && time.Now().After(s.until) {
			return false
		}
		err := s.post(e)
		if err == nil {
			if s.down {
				s.down = false
				s.publisher.log.Info("connection logs reach Fluentd again")
			}
			return true
		}
		if !s.down {
			s.down = true
			s.publisher.log.Warn("connection logs do not reach Fluentd", "error", err)
		}
		s.admit(admitEvery)
		if attempt >= o.Retries || !s.pause(pause) {
			return false
		}
		pause = min(pause+pause/2, o.RetryMax)
	}
}

// pause waits before the next attempt; false: the time to flush is over.
func (s *sender) pause(d time.Duration) bool {
	closing := s.publisher.closing
	if !s.until.IsZero() {
		closing = nil
		if d = min(d, time.Until(s.until)); d <= 0 {
			return false
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-closing:
		s.until = time.Now().Add(s.publisher.opts.Flush)
	}
	return true
}

// post is one attempt.
func (s *sender) post(e published) error {
	o := &s.publisher.opts
	if s.link == nil {
		network := "tcp"
		if o.TLS {
			network = "tls"
		}
		link, err := fluent.New(fluent.Config{
			FluentHost: o.Host, FluentPort: o.Port, FluentNetwork: network, Timeout: o.ConnectTimeout, WriteTimeout: o.ConnectTimeout,
			ReadTimeout: o.ReadTimeout, RequestAck: o.Ack, SubSecondPrecision: true, MaxRetry: 1, RetryWait: 1,
		})
		if err != nil {
			return err
		}
		s.link = link
	}
	tag := o.Tag
	if tag == "" {
		tag = "connection:" + e.connectionID
	}
	return s.link.EncodeAndPostData(tag, e.entry.Timestamp.Time(), s.record(e))
}

func (s *sender) close() {
	if s.link != nil {
		_ = s.link.Close() // everything was sent, or given up
	}
}

// record is the record of an entry; parts that are absent are left out (runtime.md 12.4).
func (s *sender) record(e published) map[string]any {
	o := &s.publisher.opts
	record := make(map[string]any, 10+len(o.Context))
	for name, value := range o.Context {
		record[name] = value
	}
	for name, value := range map[string]string{
		"connectionId": e.connectionID, "level": e.entry.Level, "category": e.entry.Category, "type": e.entry.Type, "message": e.entry.Message,
		"address": e.entry.Address, "entityType": e.entry.EntityType, "entityId": e.entry.EntityID, "instanceId": o.Instance(),
	} {
		if value != "" {
			record[name] = value
		}
	}
	if id := e.entry.CorrelationID; id != notProvided {
		record["correlationId"] = id
	}
	return record
}
