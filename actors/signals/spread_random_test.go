package signals

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hawser/actors/client"
	"hawser/messages"
	"hawser/messages/protocol"
)

// TestSpreadAtRandom lets messages of sources on several nodes go to a connection with several clients, while these move, nodes are
// lost and join, and modifies change the number of clients. Every message is settled positively, and one client or another
// has published it; while nothing moves, each goes to one client, and those of a thing in order.
func TestSpreadAtRandom(t *testing.T) {
	for seed := range uint64(seedsOf(t)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { newWorld(t, seed).run() })
		})
	}
}

func seedsOf(t *testing.T) int {
	if testing.Short() {
		return 4
	}
	return 30
}

// world is a cluster with one connection of several clients.
type world struct {
	*fabric
	rng     *rand.Rand
	count   int // its clientCount
	clients map[int]*somewhere
	sources map[string]*peer
	sent    []*numbered
	numbers int

	mu        sync.Mutex
	published map[int][]int // value → clients, in order
	order     [][2]int      // client, value, as they were handed to the brokers
}

// somewhere is one client of the connection and the broker behind it, which answers now or later.
type somewhere struct {
	*Endpoint
	world   *world
	index   int
	address string

	mu      sync.Mutex
	rng     *rand.Rand
	closed  bool
	dead    bool // with its node
	pending map[int]func(error)
	next    int
}

// numbered is a message with what its event says.
type numbered struct {
	*message
	value int
}

const worldThings = 8

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		fabric: newFabric(t), rng: rand.New(rand.NewPCG(3, seed)), count: 3, clients: map[int]*somewhere{}, sources: map[string]*peer{}, published: map[int][]int{},
	}
	for _, address := range []string{"a", "b", "c"} {
		w.join(address)
	}
	return w
}

func (w *world) connection() *messages.Connection { return spread(w.count) }

// live are the addresses of the nodes that live.
func (w *world) live() (addresses []string) {
	for _, n := range w.members() {
		if !n.dead {
			addresses = append(addresses, n.address)
		}
	}
	slices.Sort(addresses)
	return addresses
}

// join adds a node with a source; it learns what the connection takes before the source opens.
func (w *world) join(address string) {
	m := w.add(address, Options{Window: 4})
	if len(w.clients) > 0 {
		m.hub.Learn("to", Interest(w.connection()))
	}
	for _, n := range w.members() {
		n.hub.Changed()
	}
	w.sources[address] = w.openAt(address, connection("from-"+address, withSource()))
}

// publishes is the broker of a client.
func (s *somewhere) publishes(m client.Outbound, done func(client.Outcome)) {
	e, err := protocol.Parse([]byte(m.Text))
	if err != nil {
		panic(err)
	}
	var value int
	_, _ = fmt.Sscan(string(e.Value), &value)
	s.world.mu.Lock()
	s.world.order = append(s.world.order, [2]int{s.index, value})
	s.world.mu.Unlock()
	finish := func(err error) {
		if err == nil {
			s.world.mu.Lock()
			s.world.published[value] = append(s.world.published[value], s.index)
			s.world.mu.Unlock()
		}
		done(client.Outcome{Err: err, Status: 200})
	}
	s.mu.Lock()
	if s.dead {
		s.mu.Unlock()
		return
	}
	if s.closed {
		s.mu.Unlock()
		finish(client.ErrClosed)
		return
	}
	number := s.next
	s.next++
	s.pending[number] = finish
	later := time.Duration(s.rng.IntN(30)) * time.Millisecond
	s.mu.Unlock()
	time.AfterFunc(later, func() { s.answer(number, nil) })
}

func (s *somewhere) answer(number int, err error) {
	s.mu.Lock()
	finish := s.pending[number]
	delete(s.pending, number)
	s.mu.Unlock()
	if finish != nil {
		finish(err)
	}
}

// close ends the client in an orderly way; what its broker has not answered fails, some of it late.
func (s *somewhere) close() {
	s.Moving()
	s.mu.Lock()
	s.closed = true
	numbers := slices.Collect(maps.Keys(s.pending))
	s.mu.Unlock()
	half := len(numbers) / 2
	for _, number := range numbers[:half] {
		s.answer(number, client.ErrClosed)
	}
	s.Detach(false)
	for _, number := range numbers[half:] {
		s.answer(number, client.ErrClosed)
	}
}

// vanish is the end with the node: its broker accepts nothing more, and nobody hears of it.
func (s *somewhere) vanish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	clear(s.pending)
}

// start runs a client at a node that owns it.
func (w *world) start(index int, address string) {
	w.ownClient(address, w.connection(), index)
	c := w.connection()
	n := w.nodes[address]
	e, err := n.hub.Attach(c, index, n.registry.Connection(c.ID, string(c.Type)))
	if err != nil {
		w.t.Fatal(err)
	}
	s := &somewhere{Endpoint: e, world: w, index: index, address: address, rng: rand.New(rand.NewPCG(w.rng.Uint64(), 1)), pending: map[int]func(error){}}
	w.clients[index] = s
	w.idle()
	e.Connected(s.publishes)
}

// idle lets a little time pass.
func (w *world) idle() {
	if w.rng.IntN(2) == 0 {
		<-time.After(time.Duration(w.rng.IntN(20)) * time.Millisecond)
	}
}

// free are the live nodes without a client.
func (w *world) free() (addresses []string) {
	for _, address := range w.live() {
		if !slices.ContainsFunc(slices.Collect(maps.Values(w.clients)), func(s *somewhere) bool { return s.address == address }) {
			addresses = append(addresses, address)
		}
	}
	w.rng.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	return addresses
}

// complete starts the clients that are missing, and ends those that have no place any more.
func (w *world) complete() {
	wanted := min(w.count, len(w.live()))
	for index := wanted; index < 4; index++ {
		if w.clients[index] != nil {
			w.end(index)
			w.ownClient("", w.connection(), index)
			w.idle()
		}
	}
	for index := range wanted {
		if w.clients[index] == nil {
			w.start(index, w.free()[0])
			w.idle()
		}
	}
}

func (w *world) end(index int) {
	w.clients[index].close()
	delete(w.clients, index)
}

// modify replaces every client; the nodes learn of it in any order, before and after.
func (w *world) modify(count int) {
	addresses := map[int]string{}
	for index, s := range w.clients {
		addresses[index] = s.address
	}
	w.count = count
	var steps []func()
	for index := range w.clients {
		steps = append(steps, func() { w.end(index) })
	}
	for _, address := range w.live() {
		steps = append(steps, func() { w.nodes[address].hub.Learn("to", Interest(w.connection())) })
	}
	w.do(steps)
	steps = nil
	for index := range min(count, len(w.live())) {
		address, had := addresses[index]
		if !had {
			continue
		}
		steps = append(steps, func() { w.start(index, address) })
	}
	for _, address := range w.live() { // published once more when client 0 opens
		steps = append(steps, func() { w.nodes[address].hub.Learn("to", Interest(w.connection())) })
	}
	w.do(steps)
	for index := count; index < 4; index++ { // whoever owned them keeps that, or not
		if w.rng.IntN(2) == 0 {
			w.ownClient("", w.connection(), index)
		}
	}
	w.complete()
}

func (w *world) do(steps []func()) {
	w.rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	for _, step := range steps {
		step()
		w.idle()
	}
}

// move takes a client to another node, or to the same.
func (w *world) move(index int) {
	if w.clients[index] == nil {
		return
	}
	w.ownClient("", w.connection(), index)
	w.end(index)
	w.idle()
	w.start(index, w.free()[0])
}

// lose kills a node.
func (w *world) lose(address string) {
	for index, s := range w.clients {
		if s.address == address {
			s.vanish()
			delete(w.clients, index)
		}
	}
	delete(w.sources, address)
	w.sent = slices.DeleteFunc(w.sent, func(m *numbered) bool { return m.value%100 == int(address[0]-'a') })
	w.kill(address)
	w.idle()
	w.complete()
}

// send lets every source bring a message for each thing: value = number·100 + source.
func (w *world) send(wait bool) (batch []*numbered) {
	var work sync.WaitGroup
	for _, address := range slices.Sorted(maps.Keys(w.sources)) {
		from := w.sources[address]
		var mine []*numbered
		for thing := range worldThings {
			w.numbers++
			value := 100*w.numbers + int(address[0]-'a')
			text := envelope(fmt.Sprintf("acme/pump-%d/things/live/events/modified", thing), "/attributes/k", fmt.Sprint(value))
			mine = append(mine, &numbered{from.message(text), value})
		}
		batch = append(batch, mine...)
		work.Go(func() {
			for _, m := range mine {
				from.Consume(m.in)
			}
		})
	}
	w.sent = append(w.sent, batch...)
	if wait {
		work.Wait()
	} else {
		w.work.Go(work.Wait)
	}
	return batch
}

func (w *world) run() {
	w.complete()
	w.learn(w.connection())
	fresh := 'd'
	for range 12 {
		w.send(w.rng.IntN(2) == 0)
		switch w.rng.IntN(5) {
		case 0, 1:
			w.modify(1 + w.rng.IntN(4))
		case 2:
			w.move(w.rng.IntN(w.count))
		case 3:
			if live := w.live(); len(live) > 2 {
				w.lose(live[w.rng.IntN(len(live))])
			}
		case 4:
			if fresh <= 'f' {
				w.join(string(fresh))
				fresh++
				w.complete()
			}
		}
		w.send(w.rng.IntN(2) == 0)
		w.idle()
	}
	pass(5 * time.Second)
	w.settled()
	w.calm()
}

// settled: all messages are, positively, and were published.
func (w *world) settled() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.sent {
		if got := m.settlements(); len(got) != 1 || got[0] != client.Settle {
			w.t.Errorf("%d is settled %v", m.value, got)
		}
		if len(w.published[m.value]) == 0 {
			w.t.Errorf("%d was not published", m.value)
		}
	}
}

// calm: while nothing moves.
func (w *world) calm() {
	w.t.Helper()
	w.mu.Lock()
	w.order = nil
	w.mu.Unlock()
	var batches [][]*numbered
	for range 4 {
		batches = append(batches, w.send(true))
	}
	pass(time.Second)
	w.settled()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range batches[0] { // the same source and thing in each
		at := w.published[batches[0][i].value]
		for _, batch := range batches {
			if got := w.published[batch[i].value]; len(got) != 1 || got[0] != at[0] {
				w.t.Errorf("%d published by %v, want by %v", batch[i].value, got, at)
			}
		}
	}
	used, at := map[int]bool{}, map[int]int{}
	for i, o := range w.order {
		used[o[0]], at[o[1]] = true, i
	}
	for i := range batches[0] {
		for k := 1; k < len(batches); k++ {
			if before, after := batches[k-1][i].value, batches[k][i].value; at[before] > at[after] {
				w.t.Errorf("%d published after %d", before, after)
			}
		}
	}
	if wanted := min(w.count, len(w.live())); len(used) != wanted && wanted <= 2 { // eight things may miss one of more clients
		w.t.Errorf("%d clients of %d were used", len(used), wanted)
	}
	synctest.Wait()
	for _, n := range w.members() {
		if n.dead {
			continue
		}
		n.hub.mu.Lock()
		for id, r := range n.hub.receivers {
			r.mu.Lock()
			if r.used != 0 || len(r.held) != 0 || len(r.waiting) != 0 || r.onWay.Load() != 0 {
				w.t.Errorf("%s at %s: %d slots, %d held, %d wait, %d on the way", id, n.address, r.used, len(r.held), len(r.waiting), r.onWay.Load())
			}
			if _, index := client.ParseIdentity(id); r.connection == "to" && index >= w.count {
				w.t.Errorf("%s at %s is left", id, n.address)
			}
			r.mu.Unlock()
		}
		n.hub.mu.Unlock()
	}
}
