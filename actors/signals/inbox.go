package signals

import (
	"maps"
	"slices"
)

// inbox is the receiving side of a link without its I/O: it takes each frame once and in order, and remembers outcomes until
// the sender has them.
type inbox struct {
	link     uint64
	base     uint64 // what is before it, the sender has the outcome of
	expected uint64 // the number of the next frame
	told     uint64 // the value of expected that the sender was last told about a gap
	outcomes map[uint64]FrameOutcome
}

// newInbox starts with the first frame that the sender has no outcome of.
func newInbox(link, base uint64) *inbox {
	return &inbox{link: link, base: base, expected: base, outcomes: map[uint64]FrameOutcome{}}
}

// arrival says what to do with a frame.
type arrivalVerdict uint8

const (
	arrivalFresh  arrivalVerdict = iota // relay it
	arrivalWorked                       // it is in work: nothing
	arrivalKnown                        // answer it again
	arrivalGap                          // frames before it were lost: ask for them
	arrivalEarly                        // likewise, and they are asked for already
)

// take looks at a relay or void frame.
func (b *inbox) take(seq, base uint64) (arrivalVerdict, FrameOutcome) {
	b.advance(base)
	switch {
	case seq > b.expected && b.told == b.expected:
		return arrivalEarly, FrameOutcome{}
	case seq > b.expected:
		b.told = b.expected
		return arrivalGap, FrameOutcome{}
	case seq == b.expected:
		b.expected++
		return arrivalFresh, FrameOutcome{}
	}
	if o, ok := b.outcomes[seq]; ok {
		return arrivalKnown, o
	}
	return arrivalWorked, FrameOutcome{}
}

// finish takes the outcome of a frame that was taken and reports whether the sender wants it.
func (b *inbox) finish(o FrameOutcome) bool {
	if o.Seq < b.base {
		return false
	}
	b.outcomes[o.Seq] = o
	return true
}

// ask answers the question what became of the frames from base to last: the outcomes that are known, and whether frames are
// missing.
func (b *inbox) ask(base, last uint64) (known []FrameOutcome, again bool) {
	b.advance(base)
	again = b.expected <= last
	if again {
		b.told = b.expected
	}
	return b.known(), again
}

// known are the outcomes that the sender may not have, in order.
func (b *inbox) known() []FrameOutcome {
	known := make([]FrameOutcome, 0, len(b.outcomes))
	for _, seq := range slices.Sorted(maps.Keys(b.outcomes)) {
		known = append(known, b.outcomes[seq])
	}
	return known
}

// advance forgets what is before base.
func (b *inbox) advance(base uint64) {
	if base <= b.base {
		return
	}
	if base-b.base > uint64(len(b.outcomes)) {
		maps.DeleteFunc(b.outcomes, func(seq uint64, _ FrameOutcome) bool { return seq < base })
	} else {
		for seq := b.base; seq < base; seq++ {
			delete(b.outcomes, seq)
		}
	}
	b.base = base
	b.expected = max(b.expected, base)
}
