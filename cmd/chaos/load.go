package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// relays are the pairs of connections that carry the traffic: source i relays to target i and to no other, because they
// alone share a subject (runtime.md 14.2).
type relays struct {
	n      int
	shapes shapes
}

func (r relays) source(i int) string { return fmt.Sprintf("source-%04d", i) }
func (r relays) target(i int) string { return fmt.Sprintf("target-%04d", i) }

// ids are the connections of all relays.
func (r relays) ids() []string {
	var out []string
	for i := range r.n {
		out = append(out, r.source(i), r.target(i))
	}
	return out
}

func relayIn(i int) string  { return fmt.Sprintf("in/%04d", i) }
func relayOut(i int) string { return fmt.Sprintf("out/%04d", i) }

type object = map[string]any

// connections are the two connections of relay i, to a broker at uri.
func (r relays) connections(i int, uri string) []object {
	subject := []string{fmt.Sprintf("chaos:relay-%04d", i)}
	base := func(id string) object {
		return object{"id": id, "name": id, "connectionType": r.shapes.kind(id), "clientCount": r.shapes.count(id), "connectionStatus": "open", "uri": uri,
			"sources": []any{}, "targets": []any{}}
	}
	source, target := base(r.source(i)), base(r.target(i))
	source["sources"] = []object{{"addresses": []string{r.shapes.filter(r.source(i), relayIn(i)+"/#")}, "qos": 1, "authorizationContext": subject}}
	target["targets"] = []object{{"address": relayOut(i), "qos": 1, "topics": []string{"_/_/things/live/events"}, "authorizationContext": subject}}
	return []object{target, source}
}

// relayMessage is message number k of run on relay i. The messages of a relay are of four entities, because the entity decides which
// client of a target gets them.
func relayMessage(i, run, k int) string {
	return fmt.Sprintf(`{"topic":"chaos/relay-%04d-%d/things/live/events/modified","headers":{"correlation-id":"m-%d-%d-%d"},"path":"/attributes/k","value":"%d %d"}`, i, k%4, i, run, k, run, k)
}

// parseRelayed reads run and number out of an arrived message.
func parseRelayed(payload []byte) (run, k int, err error) {
	var envelope struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(payload, &envelope); err != nil {
		return 0, 0, err
	}
	a, b, ok := strings.Cut(envelope.Value, " ")
	run, err1 := strconv.Atoi(a)
	k, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || k < 0 {
		return 0, 0, fmt.Errorf("no number in %q", envelope.Value)
	}
	return run, k, nil
}

// ledger is what was promised and what came, of one run.
type ledger struct {
	mu    sync.Mutex
	run   int
	acked [][]time.Time // by relay and number: when the broker had it; zero: it does not
	came  [][]int       // how often it arrived
	alien int           // arrivals that cannot be read or name no message
}

func newLedger(run, relays int) *ledger {
	return &ledger{run: run, acked: make([][]time.Time, relays), came: make([][]int, relays)}
}

// next is the number of a relay's next message.
func (l *ledger) next(i int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[i] = append(l.acked[i], time.Time{})
	l.came[i] = append(l.came[i], 0)
	return len(l.acked[i]) - 1
}

func (l *ledger) acknowledged(i, k int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[i][k] = time.Now()
}

func (l *ledger) arrived(i, run, k int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if run != l.run {
		return // a repetition of an earlier run
	}
	if i >= len(l.came) || k >= len(l.came[i]) {
		l.alien++
		return
	}
	l.came[i][k]++
}

// lostMessage is one that the broker acknowledged, at that time, and that did not arrive.
type lostMessage struct {
	relay, number int
	at            time.Time
}

// balance counts the messages: published and acknowledged by the broker, arrived, arrived again, and lost: acknowledged and
// not arrived, the earliest first.
func (l *ledger) balance() (acked, arrived, again, alien int, lost []lostMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.acked {
		for k, at := range l.acked[i] {
			if !at.IsZero() {
				acked++
			}
			switch n := l.came[i][k]; {
			case n > 0:
				arrived++
				again += n - 1
			case !at.IsZero():
				lost = append(lost, lostMessage{i, k, at})
			}
		}
	}
	slices.SortFunc(lost, func(a, b lostMessage) int { return a.at.Compare(b.at) })
	return acked, arrived, again, l.alien, lost
}

// traffic publishes numbered QoS 1 messages for all relays and collects what arrives. It talks to the broker directly.
type traffic struct {
	relays     int
	publisher  mqtt.Client
	subscriber mqtt.Client

	mu     sync.Mutex
	ledger *ledger
}

func newTraffic(broker string, relays int) (*traffic, error) {
	t := &traffic{relays: relays, ledger: newLedger(0, relays)}
	dial := func(id string) (mqtt.Client, error) {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + broker).SetClientID(id).SetConnectTimeout(10 * time.Second).
			SetAutoReconnect(false).SetOrderMatters(false).SetWriteTimeout(10 * time.Second))
		return c, settled(c.Connect(), 10*time.Second)
	}
	var err error
	if t.publisher, err = dial("chaos-publisher"); err != nil {
		return nil, err
	}
	if t.subscriber, err = dial("chaos-subscriber"); err != nil {
		t.publisher.Disconnect(100)
		return nil, err
	}
	err = settled(t.subscriber.Subscribe("out/+", 1, t.collect), 10*time.Second)
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func settled(token mqtt.Token, within time.Duration) error {
	if !token.WaitTimeout(within) {
		return errors.New("the broker does not answer")
	}
	return token.Error()
}

func (t *traffic) close() {
	t.publisher.Disconnect(100)
	t.subscriber.Disconnect(100)
}

func (t *traffic) collect(_ mqtt.Client, m mqtt.Message) {
	t.mu.Lock()
	l := t.ledger
	t.mu.Unlock()
	i, err := strconv.Atoi(strings.TrimPrefix(m.Topic(), "out/"))
	if err == nil {
		var run, k int
		if run, k, err = parseRelayed(m.Payload()); err == nil {
			l.arrived(i, run, k)
		}
	}
	if err != nil {
		l.mu.Lock()
		l.alien++
		l.mu.Unlock()
	}
}

// run publishes rate messages per second, round robin over the relays, until ctx ends. It returns when the broker has
// answered the last of them; the ledger is complete then but for arrivals.
func (t *traffic) run(ctx context.Context, run, rate int) *ledger {
	const window = 1000 // messages without acknowledgement
	l := newLedger(run, t.relays)
	t.mu.Lock()
	t.ledger = l
	t.mu.Unlock()
	type sent struct {
		token mqtt.Token
		i, k  int
	}
	waiting := make(chan sent, window)
	var collector sync.WaitGroup
	collector.Go(func() {
		for s := range waiting {
			if settled(s.token, 30*time.Second) == nil {
				l.acknowledged(s.i, s.k)
			}
		}
	})
	const tick = 10 * time.Millisecond
	began, n := time.Now(), 0
	for pause(ctx, tick) {
		for due := int(time.Since(began).Seconds() * float64(rate)); n < due; n++ {
			i := n % t.relays
			k := l.next(i)
			waiting <- sent{t.publisher.Publish(relayIn(i)+"/events", 1, false, relayMessage(i, run, k)), i, k}
		}
	}
	close(waiting)
	collector.Wait()
	return l
}
