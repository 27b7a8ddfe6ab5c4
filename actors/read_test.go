package actors

import (
	"encoding/json"
	"testing"
)

// TestPagesOfAList: pages grow as long as little is in them, and shrink to a single connection when those are large.
func TestPagesOfAList(t *testing.T) {
	sizes := func(connection int) (all []int) {
		size := firstPage
		for range 12 {
			all = append(all, size)
			p := page{}
			for range size {
				p.connections = append(p.connections, make(json.RawMessage, connection))
			}
			size = nextPage(size, p)
		}
		return all
	}
	if got := sizes(500); got[1] != 2*firstPage || got[11] != mostPage {
		t.Errorf("small connections: %v", got)
	}
	if got := sizes(pageBytes + 1); got[11] != 1 {
		t.Errorf("large connections: %v", got)
	}
	for i, size := range sizes(100_000) {
		if i > 2 && size*100_000 > 2*pageBytes {
			t.Errorf("page %d of connections of 100 kB has %d", i, size)
		}
	}
}
