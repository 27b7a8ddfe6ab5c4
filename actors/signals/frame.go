package signals

import (
	"time"

	"hawser/messages/protocol"
)

// Peer is another node of the cluster, in one incarnation.
type Peer struct {
	ID      string // of the member: never the same again after it was lost
	Address string
}

// Cluster is what a hub has to know of the other nodes, and how it reaches them. Methods are called from many goroutines
// and must not block.
type Cluster interface {
	// Holds reports whether this node may act: its lease has not run out (design.md 3.2 rule 2). It is asked for each message that
	// is consumed or published: a process that was frozen must not go on where another has taken over.
	Holds() bool
	// Owner says where a client is run (client.Identity).
	Owner(identity string) (Peer, Place)
	// Serves reports whether this node runs the connection id and has said so with Expect if it is open: then an id that the
	// hub does not know is not open.
	Serves(id string) bool
	// Nodes is the number of nodes that run clients: a connection has one client on each at most.
	Nodes() int
	// Peers are the other live members.
	Peers() []Peer
	// Send sends a frame to the node at an address, in the order of calls as long as none is lost. Frames may get lost.
	Send(address string, f *Frame)
}

// Place says where a connection is run.
type Place uint8

// The places.
const (
	Nowhere Place = iota // its shard is on its way from one node to another
	Here
	Elsewhere
)

// alone is the Cluster of a node that has no peers.
type alone struct{}

func (alone) Holds() bool                { return true }
func (alone) Owner(string) (Peer, Place) { return Peer{}, Here }
func (alone) Serves(string) bool         { return true }
func (alone) Nodes() int                 { return 1 }
func (alone) Peers() []Peer              { return nil }
func (alone) Send(string, *Frame)        {}

// FrameKind says what a Frame is.
type FrameKind string

// The kinds of frames. A link is one ordered stream of relay and void frames from one node to another, with ask on the same
// way and outcome and again on the way back (design.md 6.1); answer belongs to no link.
const (
	FrameRelay  FrameKind = "relay"   // a signal for the client of one connection
	FrameVoid   FrameKind = "void"    // takes the number of a relay that nobody waits for any more
	FrameAsk    FrameKind = "query"   // what became of the frames from Base to Seq?
	FrameFates  FrameKind = "outcome" // what became of some frames
	FrameAgain  FrameKind = "again"   // frames were lost: send those from Seq again
	FrameAnswer FrameKind = "answer"  // a response or acknowledgement whose request waits at a node that the sender does not know
)

// Frame is what crosses from one hub to another. It must not be changed once it was given to Send.
type Frame struct {
	Kind FrameKind
	// Link identifies the stream: random, made by the node that relays.
	Link uint64
	// Seq numbers relay and void frames from 1 without gaps; see the kinds for the others.
	Seq uint64
	// Base is the first frame of the link that has no outcome yet: what is known of those before can be forgotten.
	Base uint64

	// Of a relay: the client it is for (client.Identity), and how long its broker message can still wait for it.
	Target string
	Wait   time.Duration
	// Of a relay and an answer: the signal. Origin is the connection that brought it in.
	Origin            string
	Subjects, Readers []string
	Everyone          bool     // all may read it
	Asked             bool     // somebody waits for responses or acknowledgements
	Labels            []string // of the acknowledgements that are waited for
	Envelope          *protocol.Envelope

	Outcomes []FrameOutcome
}

// FrameOutcome is what became of one relay.
type FrameOutcome struct {
	Seq  uint64
	Fate FrameFate
	// Acks are what the targets issued; one with the label live-response is the response.
	Acks []protocol.Ack
}

// FrameFate is the fate of a relay at the node of its target. Numbers are part of the protocol between nodes.
type FrameFate uint32

// The fates. Whether a target accepted or refused is counted and logged by its own node: the sender need not know.
const (
	FateDone    FrameFate = 0 // accepted or refused (decision O11)
	FateExpired FrameFate = 1 // the hold time was over (O14)
	FateMoved   FrameFate = 2 // the connection is not there: look it up and relay it there (O13)
)

// relayFrame renders a relay as the frame with number seq.
func relayFrame(rl *relay, link, seq, base uint64) *Frame {
	if rl.finished.Load() {
		return &Frame{Kind: FrameVoid, Link: link, Seq: seq, Base: base}
	}
	s := rl.signal
	return &Frame{
		Kind: FrameRelay, Link: link, Seq: seq, Base: base, Target: rl.receiver.id, Wait: rl.receiver.hub.timers.left(rl.deadline),
		Origin: s.Origin, Subjects: s.Subjects, Readers: s.readers, Everyone: s.everyone,
		Asked: s.request != nil, Labels: s.acks.Labels, Envelope: s.Envelope,
	}
}

// size is roughly what a relay of s costs in memory.
func (s *Signal) size() int {
	n := 512 + len(s.Envelope.Value) + len(s.Envelope.Extra)
	for name, value := range s.Envelope.Headers {
		n += len(name) + len(value)
	}
	return n
}
