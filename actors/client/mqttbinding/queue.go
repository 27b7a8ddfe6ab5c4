package mqttbinding

import "sync"

// queue hands values from many goroutines to one, in order and in batches. Who puts bounds it.
type queue[T any] struct {
	mu     sync.Mutex
	items  []T
	closed bool
	ready  chan struct{}
}

func newQueue[T any]() *queue[T] { return &queue[T]{ready: make(chan struct{}, 1)} }

// put appends v; false: the queue is closed.
func (q *queue[T]) put(v T) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.items = append(q.items, v)
	first := len(q.items) == 1
	q.mu.Unlock()
	if first {
		q.signal()
	}
	return true
}

func (q *queue[T]) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take waits for values and returns all there are, at least one; nil: the queue is closed and empty. used is a batch that
// was taken before and is no longer needed.
func (q *queue[T]) take(used []T) []T {
	clear(used)
	if cap(used) > 4096 {
		used = nil
	}
	for {
		q.mu.Lock()
		if len(q.items) > 0 {
			batch := q.items
			q.items = used[:0]
			q.mu.Unlock()
			return batch
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil
		}
		<-q.ready
	}
}

// close lets take end once the queue is empty.
func (q *queue[T]) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}
